/**
 * Movement: relocates everything that is wanted elsewhere, walk after walk over the map, while guests go on writing.
 *
 *   flush → every layer, every unit → (something was written meanwhile, or came too late) → again, from the third walk on with writers held → nothing left
 *
 * Cut off at any moment it has moved that much; begun again it goes on from there, because what is left to do is what the map says.
 * Elsewhere: what one unit goes through (relocate.ts), how fast it may go as asked (src/pool/pace.ts) and for the guests' sake (src/pool/governor.ts).
 */
import { setTimeout } from 'node:timers/promises';
import type { Target } from '../pool/allocator.ts';
import type { Pool } from '../pool/pool.ts';
import { inLanes } from './lanes.ts';
import { type RelocateContext, relocateUnit } from './relocate.ts';
import { type IsWanted, stillWanted, type Unit, unitsOf } from './unit.ts';

export interface Movement {
  /** Layers that may have something to be moved, as they are now. */
  readonly layers: () => readonly number[];
  readonly isWanted: IsWanted;
  /** Where a layer's clusters are to be: the first of these that has room. */
  readonly targetsOf: (layer: number) => readonly Target[];
}

export interface MoveWatch {
  /** Resolves when so many bytes may be moved. @throws the reason to stop */
  readonly before: (bytes: number) => Promise<void>;
  readonly onMoved: (bytes: number) => void;
}

/** 8 MiB at the default cluster size: enough for disks to be fast, little enough to be pausable. */
const slotsPerUnit = 128;
/** Their writers wait for the copies of all of them. */
const slotsPerHeldUnit = 8;
const walksWithoutHold = 2;
/** Between walks that found something and could move nothing. */
const retryMs = 100;

/**
 * Afterwards nothing that was wanted elsewhere when the last walk began is where it was.
 *
 * @throws StorageError pool/full, pool/failed, disk/io; what `before` throws
 */
export async function moveAll(
  context: RelocateContext,
  movement: Movement,
  watch: MoveWatch,
): Promise<void> {
  for (let walks = 0; ; walks++) {
    // What guests wrote is in the map only when it is durable.
    await context.pool.flush();
    const { found, moved } = await walk(context, movement, watch, walks >= walksWithoutHold);
    if (found === 0) return;
    if (moved === 0) await setTimeout(retryMs);
  }
}

async function walk(
  context: RelocateContext,
  { layers, isWanted, targetsOf }: Movement,
  watch: MoveWatch,
  holdWriters: boolean,
): Promise<{ found: number; moved: number }> {
  const { pool } = context;
  const count = { found: 0, moved: 0 };
  const slotsMax = () => slotsFor(pool, holdWriters ? slotsPerHeldUnit : slotsPerUnit);
  const relocate = async (read: Unit) => {
    // Enough may have been moved since the unit was read.
    const unit = stillWanted(read, isWanted);
    if (unit.slots.length === 0) return 0;
    const moved = await relocateUnit(context, unit, {
      targets: targetsOf(unit.layer),
      holdWriters,
    });
    count.found += unit.slots.length;
    count.moved += moved;
    watch.onMoved(moved * pool.clusterBytes);
    return unit.slots.length * pool.clusterBytes;
  };
  const inTurn = async (read: Unit) => {
    await watch.before(read.slots.length * pool.clusterBytes);
    await pool.governor.run(() => relocate(read));
  };
  for (const layer of layers()) {
    await inLanes(unitsOf(pool, layer, isWanted, slotsMax), inTurn);
  }
  return count;
}

/** As many clusters as guests are to meet at once. */
export function slotsFor(pool: Pool, slotsMax: number): number {
  const borne = Math.floor(pool.governor.bytesPerTurn / pool.clusterBytes);
  return Math.max(1, Math.min(slotsMax, borne));
}
