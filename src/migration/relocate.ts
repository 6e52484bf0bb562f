/**
 * Relocate: gives slots other clusters with the same content, whoever reads or writes them meanwhile. The one primitive of everything that moves.
 *
 *   frozen layer       copied and durable → what still is as it was: every open page table reads the new place → one batch → old clusters released
 *   head, not open     nobody writes: copied, one batch, while nobody may open it
 *   head, open         the data plane copies, and changes what was not written meanwhile (native/volume/relocate_op.h)
 *
 * After a crash a slot is where it was or where it is to be. A slot that a frozen layer had in several clusters has one afterwards.
 * Elsewhere: which slots (unit.ts), whereto and how fast (movement.ts).
 */
import { messageOf, StorageError } from '../base/errors.ts';
import { slotsPerLeaf, slotsPerRegion } from '../base/units.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import { type ClusterPlace, coalesce, placesOf, type Target } from '../pool/allocator.ts';
import { damageOp } from '../pool/damage.ts';
import { type BatchOp, packed } from '../pool/format/batch.ts';
import type { LeafEntry } from '../pool/format/leaf.ts';
import type { LeafSeal } from '../pool/format/seal.ts';
import { slotMask } from '../pool/format/slot.ts';
import { compareEntries, type SlotEntry, type SlotStates } from '../pool/format/slot-states.ts';
import { addressOf, type ClusterAddress, placeOf } from '../pool/pending-moves.ts';
import type { ClusterCopy, Pool } from '../pool/pool.ts';
import { copiesOf } from '../snapshot/sub-block-copies.ts';
import { volumeKey } from '../volume/chain.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import type { VolumeRecord } from '../volume/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import type { Unit, WantedSlot } from './unit.ts';

export interface RelocateContext {
  readonly pool: Pool;
  readonly volumes: Pick<VolumeService, 'exclusively'>;
}

export interface RelocateOptions {
  /** Where the new clusters are to be: the first of these that has room. */
  readonly targets: readonly Target[];
  /** Writers of these slots wait: for slots that are written all the time. */
  readonly holdWriters: boolean;
}

interface Move extends WantedSlot {
  readonly to: ClusterPlace;
}

/**
 * Relocates what of a unit still is as it was read.
 *
 * @returns how many slots were moved; the others were written meanwhile, or are not there any more
 * @throws StorageError pool/full, pool/failed, disk/io; some may have been moved
 */
export async function relocateUnit(
  context: RelocateContext,
  unit: Unit,
  options: RelocateOptions,
): Promise<number> {
  const { pool } = context;
  const held = pool.holdClusters(unit.slots.length, options.targets);
  const places = held.flatMap(placesOf);
  const moves = unit.slots.map((each, at): Move => ({ ...each, to: places[at] as ClusterPlace }));
  const unused = new Set(places);
  try {
    const moved = await relocate(context, unit, moves, options);
    for (const { to } of moved) unused.delete(to);
    return moved.length;
  } finally {
    pool.returnClusters(coalesce([...unused]));
  }
}

async function relocate(
  context: RelocateContext,
  unit: Unit,
  moves: readonly Move[],
  { holdWriters }: RelocateOptions,
): Promise<readonly Move[]> {
  const { pool } = context;
  const volume = LayerTree.of(pool).headOf(unit.layer);
  if (volume === undefined) return relocateFrozen(context, unit, moves);
  const moved = await pool.borrowVolume(volumeKey(volume.id), (plane) =>
    relocateOpen(pool, plane, unit, moves, holdWriters),
  );
  return moved ?? relocateClosed(context, volume, unit, moves);
}

async function relocateFrozen(
  { pool, volumes }: RelocateContext,
  unit: Unit,
  moves: readonly Move[],
): Promise<readonly Move[]> {
  const owners = pool.watchOwners(sourcesOf(moves));
  try {
    await copyAll(pool, moves);
    // Outside of the others' way: the batch's own round has nothing left to sync then.
    await pool.flush();
    return await volumes.exclusively(pool, async () => {
      // What nobody names any more is the reaper's, who waits for nobody.
      if (!LayerTree.of(pool).isAlive(unit.layer)) return [];
      // Others may have taken a cluster away and brought it back, and what was copied is not what it holds now.
      const copied = moves.filter((move) => !sourcesOf([move]).some(owners.changedHands));
      return moveFrozen(pool, unit, await unchanged(pool, unit, copied));
    });
  } finally {
    owners.end();
  }
}

async function moveFrozen(
  pool: Pool,
  unit: Unit,
  moves: readonly Move[],
): Promise<readonly Move[]> {
  const end = await pool.movePlaces(
    moves.flatMap(({ slot, clusters, to }) =>
      clusters.map((cluster) => ({
        slot: unit.region * slotsPerRegion + slot,
        from: addressIn(cluster),
        to: addressOf(to.disk, to.cluster),
      })),
    ),
  );
  try {
    await commitMoves(pool, unit, moves);
  } finally {
    end();
  }
  return moves;
}

function sourcesOf(moves: readonly Move[]): ClusterPlace[] {
  return moves.flatMap(({ clusters }) => clusters.map(placeOf));
}

/** Of a volume that has been opened meanwhile nothing is moved; what was scratch and is closed goes anyway. */
async function relocateClosed(
  { pool, volumes }: RelocateContext,
  volume: VolumeRecord,
  unit: Unit,
  moves: readonly Move[],
): Promise<readonly Move[]> {
  return volumes.exclusively(pool, () =>
    pool.holdOpenings(async () => {
      const isStillHead = LayerTree.of(pool).headOf(unit.layer)?.id === volume.id;
      const isClosed = !pool.isVolumeOpen(volumeKey(volume.id));
      if (!isStillHead || !isClosed || volume.scratch) return [];
      const still = await unchanged(pool, unit, moves);
      await copyAll(pool, still);
      await commitMoves(pool, unit, still);
      return still;
    }),
  );
}

async function relocateOpen(
  pool: Pool,
  plane: VolumePlane,
  unit: Unit,
  moves: readonly Move[],
  holdWriters: boolean,
): Promise<readonly Move[]> {
  try {
    const numbers = moves.flatMap(({ slot, clusters, to }) => {
      const from = placeOf(clusters[0] as SlotEntry);
      return [unit.region * slotsPerRegion + slot, from.disk, from.cluster, to.disk, to.cluster];
    });
    const outcomes = await plane.relocate(numbers, { holdWriters });
    return moves.filter((_, at) => outcomes[at] === 'moved');
  } catch (cause) {
    pool.expectOnline();
    throw new StorageError('disk/io', `pool ${pool.name}: ${messageOf(cause)}`, { cause });
  }
}

function copyAll(pool: Pool, moves: readonly Move[]): Promise<void> {
  const copies = moves.flatMap(({ clusters, to }) =>
    clusters.flatMap((cluster): ClusterCopy[] =>
      copiesOf(pool.clusterBytes, { from: placeOf(cluster), to, mask: slotMask(cluster.lo) }),
    ),
  );
  // What is damaged stays so, and its mark goes with it.
  return pool.copyClusters(copies, pool, { evenDamaged: true });
}

/** Of the moves those whose slots have the same clusters as when they were planned; nothing of layers that are gone. */
async function unchanged(
  pool: Pool,
  { layer, region }: Unit,
  moves: readonly Move[],
): Promise<readonly Move[]> {
  const { states } = await pool.index.readRegion(layer, region);
  return moves.filter(({ slot, clusters }) => {
    const now = states.clusters(slot);
    return (
      now.length === clusters.length &&
      clusters.every(({ hi, lo }, at) => now[at]?.hi === hi && now[at]?.lo === lo)
    );
  });
}

async function commitMoves(pool: Pool, unit: Unit, moves: readonly Move[]): Promise<void> {
  const { states } = await pool.index.readRegion(unit.layer, unit.region, { seals: true });
  const groups = byLeaf(moves).map((ofLeaf) => [
    ...opsOf(unit, ofLeaf, states),
    ...ofLeaf.flatMap((move) => movedDamage(pool, move)),
  ]);
  for (const batch of packed(groups, pool.batchBytesMax)) await pool.commit(batch);
}

function byLeaf(moves: readonly Move[]): Move[][] {
  const leaves = new Map<number, Move[]>();
  for (const move of moves) {
    const leaf = Math.floor(move.slot / slotsPerLeaf);
    const known = leaves.get(leaf);
    if (known === undefined) leaves.set(leaf, [move]);
    else known.push(move);
  }
  return [...leaves.values()];
}

/** The slots of one leaf have their new clusters; what they had is released. */
function opsOf(unit: Unit, moves: readonly Move[], states: SlotStates): BatchOp[] {
  const first = unit.region * slotsPerRegion + (moves[0] as Move).slot;
  const entries = moves.flatMap(({ slot, clusters, to }): LeafEntry[] => {
    const mask = clusters.reduce((bits, { lo }) => bits | slotMask(lo), 0);
    const { hi, lo } = addressOf(to.disk, to.cluster);
    const zero = states.zero(slot);
    const content = [...(zero === 0 ? [] : [{ hi: 0, lo: zero }]), { hi, lo: lo + mask }];
    return content
      .sort(compareEntries)
      .map((entry) => ({ slot: slot % slotsPerLeaf, hi: entry.hi, lo: entry.lo }));
  });
  const leaf = Math.floor(first / slotsPerLeaf);
  const seals = moves.flatMap((move) => movedSeals(move, states));
  const released = moves.flatMap(({ clusters }) => clusters.map(placeOf));
  const joined = released.length - moves.length;
  return [
    { op: 'patch', layer: unit.layer, leaf, entries },
    ...(seals.length === 0 ? [] : [{ op: 'seal', layer: unit.layer, leaf, seals } as const]),
    ...coalesce(moves.map(({ to }) => to)).map((run): BatchOp => ({ op: 'acquire', ...run })),
    ...coalesce(released).map((run): BatchOp => ({ op: 'release', ...run })),
    ...(joined === 0 ? [] : [{ op: 'count', layer: unit.layer, change: -joined } as const]),
  ];
}

/** The copy is what its source was said to be; of several clusters that become one nothing is known. */
function movedSeals({ slot, clusters, to }: Move, states: SlotStates): LeafSeal[] {
  const [seal] = states.seals(slot);
  if (seal === undefined || clusters.length > 1) return [];
  const { hi, lo } = addressOf(to.disk, to.cluster);
  return [{ ...seal, slot: slot % slotsPerLeaf, hi, lo: lo + slotMask(seal.lo) }];
}

/** The copy is as damaged as what it is made of. */
function movedDamage({ damage }: Pool, { clusters, to }: Move): BatchOp[] {
  const records = clusters.flatMap((cluster) => damage.at(placeOf(cluster)) ?? []);
  const [first] = records;
  if (first === undefined) return [];
  const mask = clusters.reduce((bits, cluster) => bits | damage.maskOf(cluster), 0);
  return [damageOp({ ...first, ...to, mask })];
}

function addressIn({ hi, lo }: SlotEntry): ClusterAddress {
  return { hi, lo: lo - slotMask(lo) };
}
