/**
 * A witness: stamped blocks behind the span that a workload uses, written before it and read after it.
 *
 * Each block carries its place and a checksum (fio's verify), so a server that loses, mixes up or misplaces writes is found, and has
 * no figures to show. Not part of any measurement.
 */
import { run } from '../lib/command.ts';
import type { RunningServer } from './servers.ts';

const witnessMiB = 8;

/** How much of a volume, behind its span, belongs to it. */
export const witnessRoomMiB = witnessMiB;

/** Writes the stamps of every volume, and flushes. */
export function placeWitness(server: RunningServer, spanMiB: number): Promise<void> {
  return onEveryVolume(server, spanMiB, ['--do_verify=0', '--end_fsync=1']);
}

/** @throws Error a block is not what was written */
export async function hearWitness(server: RunningServer, spanMiB: number): Promise<void> {
  try {
    await onEveryVolume(server, spanMiB, ['--verify_only=1', '--verify_fatal=1']);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`data verification failed: ${message.slice(0, 500)}`, { cause: error });
  }
}

async function onEveryVolume(
  { uri, others = [] }: RunningServer,
  spanMiB: number,
  what: readonly string[],
): Promise<void> {
  const shape = ['--rw=randwrite', '--bs=4k', '--iodepth=16', '--verify=crc32c'];
  const place = [`--offset=${spanMiB}M`, `--size=${witnessMiB}M`, '--verify_state_save=0'];
  for (const each of [uri, ...others]) {
    const engine = ['--name=witness', '--ioengine=nbd', `--uri=${each}`, '--thread'];
    await run('fio', [...engine, ...shape, ...place, ...what], { timeoutMs: 120_000 });
  }
}
