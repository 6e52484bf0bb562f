/**
 * Lease: one host at a time owns a pool; heartbeats in its labels say that it lives.
 *
 *   owner:    beat ─────────── validMs ─▶ holds everything back itself       (data plane, by its own clock)
 *   others:   beat ───────────────────────── leaseMs ─▶ may take the pool over
 *
 * The time between the two is for clocks of hosts that differ, and for what the owner's kernel still had in hand. The newest
 * heartbeat of any label counts. On one machine the disks' locks decide as well.
 * Elsewhere: the beating (lease-keeper.ts), the holding back (native/io/leased_disk.h).
 */
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { PoolDisk } from './disk-set.ts';
import type { Label } from './format/label.ts';

export interface LeaseTimes {
  readonly heartbeatMs: number;
  /** From before a beat was written: so long its owner may use the disks. */
  readonly validMs: number;
  /** From a beat's stamp: so long nobody else takes the pool unless told to. */
  readonly leaseMs: number;
  /** Between claiming what another may still hold, and the first other write: an owner that lives finds out meanwhile. */
  readonly settleMs: number;
  /** From before a label was read: so long it may be written without being read anew. */
  readonly labelMs: number;
}

/**
 * Four beats may be missed before guests wait, six before others may take over; ten seconds are for clocks that differ. Settling
 * takes longer than a heartbeat. All hosts must agree on them.
 */
const leaseMs = 30_000;

/** @param lease other than the default only for tests: everything else keeps its proportion */
export function leaseTimes(lease = leaseMs): LeaseTimes {
  const part = (ms: number) => Math.round((ms * lease) / leaseMs);
  return {
    heartbeatMs: part(5_000),
    validMs: part(20_000),
    leaseMs: lease,
    settleMs: part(6_000),
    labelMs: part(3_000),
  };
}

export interface LeaseClaim {
  readonly clock: Clock;
  readonly hostId: string;
  readonly takeover: boolean;
  readonly times: LeaseTimes;
}

/** How long others must leave the pool alone, judged by all of its labels that were found; 0 when it is free. */
export function leaseLeftMs(
  disks: readonly Pick<PoolDisk, 'label'>[],
  truth: Label,
  claim: Omit<LeaseClaim, 'takeover'>,
): number {
  if (truth.owner === null || truth.owner === claim.hostId) return 0;
  return Math.max(0, newestHeartbeat(disks) + claim.times.leaseMs - claim.clock.nowMs());
}

/** @throws StorageError pool/held another host owns the pool and lives */
export function expectLeaseFree(
  disks: readonly Pick<PoolDisk, 'label'>[],
  truth: Label,
  claim: LeaseClaim,
): void {
  const leftMs = leaseLeftMs(disks, truth, claim);
  if (claim.takeover || leftMs === 0) return;
  const left = Math.ceil(leftMs / 1000);
  throw new StorageError(
    'pool/held',
    `pool ${truth.poolName} is held by host ${truth.owner}, heard of ${heardOf(disks, claim)}; its lease ends in ${left} s unless it is heard of again`,
    {
      actions: [
        'varve pool export there',
        `or, if that host is dead, wait ${left} s, or repeat with --takeover`,
      ],
    },
  );
}

function heardOf(disks: readonly Pick<PoolDisk, 'label'>[], { clock }: LeaseClaim): string {
  const ms = clock.nowMs() - newestHeartbeat(disks);
  const seconds = Math.round(Math.abs(ms) / 1000);
  return ms < 0
    ? `${seconds} s in the future (the clocks of the hosts differ)`
    : `${seconds} s ago`;
}

function newestHeartbeat(disks: readonly Pick<PoolDisk, 'label'>[]): number {
  return Math.max(...disks.map(({ label }) => label.heartbeatMs));
}
