/**
 * Flattening one leaf: what the head inherits there is copied into clusters of its own.
 *
 *   copied into free clusters, unlocked (what is frozen does not change) → slots locked, what the guest wrote meanwhile wins → one batch → unlocked
 *
 * Elsewhere: the walk over all leaves (flatten.ts), what is inherited (inherited.ts).
 */
import { yieldToOthers } from '../base/clock.ts';
import { slotsPerLeaf, slotsPerRegion } from '../base/units.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import { type ClusterPlace, coalesce, placesOf, type Target } from '../pool/allocator.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import { slotMask } from '../pool/format/slot.ts';
import type { SlotEntry, SlotStates } from '../pool/format/slot-states.ts';
import { addressOf, type ClusterAddress, placeOf } from '../pool/pending-moves.ts';
import type { ClusterCopy, Pool } from '../pool/pool.ts';
import type { Visible } from '../pool/resolve.ts';
import { chainOf } from '../volume/chain.ts';
import { type Inherited, inheritedIn, shownBytes, without } from './inherited.ts';
import { headPatches, lock } from './layer-pair.ts';
import type { SlotChange } from './merge.ts';
import { changeOps } from './plan-ops.ts';
import { copiesOf } from './sub-block-copies.ts';

/**
 * Copies what the head inherits in one leaf of a region.
 *
 * @returns bytes copied; undefined when writers are in the way
 * @throws StorageError pool/full, pool/failed, disk/io
 */
export async function flattenLeaf(
  pool: Pool,
  plane: VolumePlane,
  head: number,
  at: { readonly region: number; readonly leaf: number },
  targets: readonly Target[],
): Promise<number | undefined> {
  const first = at.leaf * slotsPerLeaf;
  const { stack } = await pool.index.readChainRegion(() => chainOf(pool, head), at.region);
  const inherited = inheritedIn(stack, first, slotsPerLeaf);
  if (inherited.length === 0) return 0;
  const fresh = inherited.filter(({ slot }) => stack[0]?.clusters(slot).length === 0);
  const held = pool.holdClusters(fresh.length, targets);
  const places = held.flatMap(placesOf);
  const copied = new Map(fresh.map(({ slot }, n) => [slot, places[n] as ClusterPlace]));
  const unused = new Set(places);
  try {
    await pool.copyClusters(
      fresh.flatMap(({ slot, shown }) => copiesTo(pool, copied.get(slot) as ClusterPlace, shown)),
    );
    const range = { first: at.region * slotsPerRegion + first, count: slotsPerLeaf };
    const own = await lock(plane, range);
    if (own === undefined) return undefined;
    const changes = changesOf(own, inherited, copied, first);
    const patches: SlotChange[] = changes.map(({ slot, entries }) => ({ slot, entries }));
    try {
      await pool.copyClusters(changes.flatMap(({ target, rest }) => copiesTo(pool, target, rest)));
      const acquired = changes.filter(({ isFresh }) => isFresh).map(({ target }) => target);
      const ops: BatchOp[] = [
        ...changeOps(
          { layer: head, firstSlot: range.first },
          { slots: patches, clusters: acquired.length },
        ),
        ...coalesce(acquired).map((run): BatchOp => ({ op: 'acquire', ...run })),
      ];
      if (ops.length > 0) await pool.commit(ops);
      for (const place of acquired) unused.delete(place);
    } catch (error) {
      plane.unlockSlots(range);
      throw error;
    }
    plane.unlockSlots(range, headPatches({ slots: patches, clusters: 0 }));
    await yieldToOthers();
    return inherited.reduce((sum, slot) => sum + shownBytes(pool, slot), 0);
  } finally {
    pool.returnClusters(coalesce([...unused]));
  }
}

interface FlatSlot extends SlotChange {
  readonly target: ClusterPlace;
  readonly isFresh: boolean;
  /** Still to be copied, under the lock: the guest has taken a cluster of its own meanwhile. */
  readonly rest: readonly Visible[];
}

/** The head's new slots, from the states that it has now. */
function changesOf(
  own: SlotStates,
  inherited: readonly Inherited[],
  copied: ReadonlyMap<number, ClusterPlace>,
  first: number,
): FlatSlot[] {
  return inherited.flatMap(({ slot, shown }): FlatSlot[] => {
    const at = slot - first;
    const claimed = own.claimed(at);
    const rest = without(shown, claimed);
    const mask = rest.reduce((bits, each) => bits | each.mask, 0);
    if (mask === 0) return [];
    const [place] = own.clusters(at);
    const target = place === undefined ? copied.get(slot) : placeOf(place);
    if (target === undefined) return [];
    const zeroes = own.zero(at) === 0 ? [] : [{ hi: 0, lo: own.zero(at) }];
    const before = place === undefined ? 0 : slotMask(place.lo);
    const entry = withMask(addressOf(target.disk, target.cluster), before | mask);
    const isFresh = place === undefined;
    return [{ slot: at, entries: [...zeroes, entry], target, isFresh, rest: isFresh ? [] : rest }];
  });
}

function withMask({ hi, lo }: ClusterAddress, mask: number): SlotEntry {
  return { hi, lo: lo + mask };
}

function copiesTo(pool: Pool, to: ClusterPlace, shown: readonly Visible[]): ClusterCopy[] {
  return shown.flatMap((each) =>
    copiesOf(pool.clusterBytes, { from: placeOf(each), to, mask: each.mask }),
  );
}
