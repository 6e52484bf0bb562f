/**
 * Condemning: from now on reads of what is damaged fail, in everything that shows it, durably.
 *
 *   still the entry that was sealed → every open page table leads such reads to where nothing can be read → one batch with the marks
 *
 * Between other changes of structure, so that the entry is what was verified. After a crash the marks are all there or the next scrub finds the same.
 */
import { slotsPerRegion } from '../base/units.ts';
import { type DamageRecord, damagedAddress, damageOp } from '../pool/damage.ts';
import { packed } from '../pool/format/batch.ts';
import { isSealOf } from '../pool/format/seal.ts';
import { slotMask } from '../pool/format/slot.ts';
import { placeOf } from '../pool/pending-moves.ts';
import type { Pool } from '../pool/pool.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import type { VerifiedCluster } from './verify.ts';

export interface CondemnContext {
  readonly pool: Pool;
  readonly volumes: Pick<VolumeService, 'exclusively'>;
  readonly now: () => Date;
}

/**
 * @returns marks that were not there before
 * @throws StorageError pool/failed
 */
export function condemn(
  { pool, volumes, now }: CondemnContext,
  damaged: readonly VerifiedCluster[],
): Promise<readonly DamageRecord[]> {
  return volumes.exclusively(pool, async () => {
    const foundAt = now().toISOString();
    const still: VerifiedCluster[] = [];
    for (const cluster of damaged) {
      const isMarked = pool.damage.maskOf(cluster) === slotMask(cluster.lo);
      if (!isMarked && (await isStillSealed(pool, cluster))) still.push(cluster);
    }
    const marks = still.map((cluster): DamageRecord => {
      const { slot, lo } = cluster;
      return { ...placeOf(cluster), mask: slotMask(lo), slot, foundAt };
    });
    await mark(pool, marks, still);
    return marks;
  });
}

/** @param clusters those that are marked */
async function mark(
  pool: Pool,
  marks: readonly DamageRecord[],
  clusters: readonly VerifiedCluster[],
): Promise<void> {
  if (marks.length === 0) return;
  const end = await pool.movePlaces(
    clusters.map(({ slot, hi, lo }) => ({
      slot,
      from: { hi, lo: lo - slotMask(lo) },
      to: damagedAddress,
    })),
  );
  try {
    const ops = marks.map((record) => [damageOp(record)]);
    for (const batch of packed(ops, pool.batchBytesMax)) await pool.commit(batch);
  } finally {
    end();
  }
}

async function isStillSealed(pool: Pool, { layer, slot, seal }: VerifiedCluster): Promise<boolean> {
  const region = Math.floor(slot / slotsPerRegion);
  const { states } = await pool.index.readRegion(layer, region, { seals: true });
  return (
    seal !== undefined &&
    states
      .seals(slot % slotsPerRegion)
      .some(
        (now) => isSealOf(now, seal) && now.hashHi === seal.hashHi && now.hashLo === seal.hashLo,
      )
  );
}
