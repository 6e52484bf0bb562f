/**
 * Lease: one host at a time owns a pool; its heartbeat in a label says that it lives.
 *
 * On one machine the disks' locks decide. Between machines the heartbeat does: a pool whose owner was heard within 30 s is not
 * opened by another, and an owner that finds a higher epoch than its own in a label has lost the pool and stops writing.
 */
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { DiskSet, PoolDisk } from './disk-set.ts';
import type { Label } from './format/label.ts';

export const heartbeatIntervalMs = 5_000;
/** Six heartbeats: a host busy for several seconds is not taken for dead. */
const leaseMs = 30_000;

export interface LeaseClaim {
  readonly clock: Clock;
  readonly hostId: string;
  readonly takeover: boolean;
}

/** Whether an owner other than `hostId` was heard of within the lease. */
export function isLeaseAlive(label: Label, hostId: string, nowMs: number): boolean {
  if (label.owner === null || label.owner === hostId) return false;
  return nowMs - label.heartbeatMs < leaseMs;
}

/** @throws StorageError pool/held another host owns the pool and lives */
export function expectLeaseFree(disks: readonly PoolDisk[], truth: Label, claim: LeaseClaim): void {
  const heartbeatMs = Math.max(...disks.map(({ label }) => label.heartbeatMs));
  const label = { ...truth, heartbeatMs };
  if (claim.takeover || !isLeaseAlive(label, claim.hostId, claim.clock.nowMs())) return;
  const seconds = Math.max(0, Math.round((claim.clock.nowMs() - heartbeatMs) / 1000));
  throw new StorageError(
    'pool/held',
    `pool ${truth.poolName} is held by host ${truth.owner}, heard of ${seconds} s ago`,
    {
      actions: [
        'export the pool there',
        'or, if that host is dead, wait 30 s or repeat with --takeover',
      ],
    },
  );
}

/**
 * One heartbeat, in the label of the pool's first disk.
 *
 * @throws StorageError pool/held somebody took the pool over; disk/io
 */
export async function beat(disks: DiskSet, clock: Clock): Promise<void> {
  const [disk] = disks.all;
  if (disk === undefined) return;
  await disks.writeLabels(() => ({ heartbeatMs: clock.nowMs() }), [disk]);
}
