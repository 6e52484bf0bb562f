/** Results of a session that never was: what the benchmark's reckoning is tested with. */
import type { Measurement } from '../../tools/bench/fio.ts';
import { ownPeers } from '../../tools/bench/peer-tools.ts';
import { peerKinds } from '../../tools/bench/peers.ts';
import { varve, varveOf } from '../../tools/bench/servers.ts';
import type { Result } from '../../tools/bench/session.ts';
import { type Workload, workloads } from '../../tools/bench/workloads.ts';

const kinds = [varve, varveOf('/elsewhere'), ...peerKinds(ownPeers)];

export function workloadNamed(part: string): Workload {
  const found = workloads.find(({ name }) => name.includes(part));
  if (found === undefined) throw new Error(`there is a workload ${part}`);
  return found;
}

/** Every field is 1 unless given. */
export function measurement(fields: Partial<Measurement> = {}): Measurement {
  const ones = { iops: 1, bytesPerSecond: 1, p50Us: 1, p99Us: 1, cpuUsPerIo: 1, memoryPeakMiB: 1 };
  return { ...ones, ...fields };
}

/** @param outcome fields of a measurement, or an error's message */
export function result(
  workload: Workload,
  server: string,
  round: number,
  outcome: Partial<Measurement> | string,
): Result {
  const kind = kinds.find(({ name }) => name === server);
  if (kind === undefined) throw new Error(`there is a server ${server}`);
  const measured = typeof outcome === 'string' ? outcome : measurement(outcome);
  return { workload, server: kind, round, outcome: measured };
}
