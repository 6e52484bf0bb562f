/**
 * Copying one frozen layer into a layer of another pool, in pieces, while both pools serve.
 *
 *   slots read in both → copied, durable → between other changes of structure: what is still as it was read gets its new clusters, one batch
 *
 * The layer of the target is nobody's yet, but it may be relocated meanwhile; nothing of it is ever written over: what changes gets a new
 * cluster. So after a crash at any moment each of its slots is one that was committed. What was relocated meanwhile is read again.
 * Elsewhere: what a slot becomes (overlay.ts), which layer goes where (layer-map.ts).
 */
import { slotsPerLeaf, slotsPerRegion } from '../../base/units.ts';
import { type ClusterPlace, coalesce, placesOf, type Target } from '../../pool/allocator.ts';
import { type BatchOp, packed } from '../../pool/format/batch.ts';
import type { LeafEntry } from '../../pool/format/leaf.ts';
import { makeSlot, slotMask } from '../../pool/format/slot.ts';
import { compareEntries, type SlotStates } from '../../pool/format/slot-states.ts';
import { placeOf } from '../../pool/pending-moves.ts';
import type { ClusterCopy, Pool } from '../../pool/pool.ts';
import { regionsOf } from '../../snapshot/regions.ts';
import { copiesOf } from '../../snapshot/sub-block-copies.ts';
import { inLanes } from '../lanes.ts';
import {
  isCopied,
  isSameContent,
  type Overlaid,
  type OverlayRules,
  overlaid,
  type SlotContent,
} from './overlay.ts';

export interface CopyContext {
  readonly source: Pool;
  readonly target: Pool;
  /** Runs work between other changes of structure. */
  readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
}

export interface LayerCopy extends OverlayRules {
  readonly from: number;
  readonly into: number;
  /** Other layers are in it already, over which this one is laid. */
  readonly isOverlay: boolean;
  /** Where its clusters are to be: the first of these that has room. */
  readonly targets: readonly Target[];
}

export interface CopyWatch {
  /** Resolves when so many bytes may be copied. @throws the reason to stop */
  readonly before: (bytes: number) => Promise<void>;
  /** Does the work, which resolves to the bytes copied, when guests bear it. */
  readonly inTurn: (work: () => Promise<number>) => Promise<number>;
  readonly onCopied: (bytes: number) => void;
}

interface Planned {
  /** Within its region. */
  readonly slot: number;
  readonly above: SlotContent;
  readonly below: SlotContent;
  readonly becomes: Overlaid;
  readonly to: ClusterPlace | undefined;
}

/** 8 MiB at the default cluster size, as in movement.ts. */
const slotsPerUnit = 128;

/**
 * Afterwards everything of the layer is in the copy, durably.
 *
 * @throws StorageError pool/full, pool/failed, disk/io; what `before` throws
 */
export async function copyLayer(
  context: CopyContext,
  copy: LayerCopy,
  watch: CopyWatch,
): Promise<void> {
  for await (const { region } of regionsOf(context.source, [copy.from])) {
    await copyRegion(context, copy, region, watch);
  }
}

async function copyRegion(
  context: CopyContext,
  copy: LayerCopy,
  region: number,
  watch: CopyWatch,
): Promise<void> {
  // An overlay cannot be told by its masks: what was done in this walk is remembered.
  const done = new Set<number>();
  for (;;) {
    const slots = (await plannedIn(context, copy, region)).filter(({ slot }) => !done.has(slot));
    if (slots.length === 0) return;
    await inLanes(unitsOf(slots), async (unit) => {
      const bytes = unit.length * context.target.clusterBytes;
      await watch.before(bytes);
      await watch.inTurn(async () => {
        for (const slot of await copyUnit(context, copy, region, unit)) done.add(slot);
        return bytes;
      });
      watch.onCopied(bytes);
    });
  }
}

async function* unitsOf(slots: readonly Omit<Planned, 'to'>[]) {
  for (let at = 0; at < slots.length; at += slotsPerUnit) yield slots.slice(at, at + slotsPerUnit);
}

/** What of the region is to be copied, as both maps are now. */
async function plannedIn(
  { source, target }: CopyContext,
  copy: LayerCopy,
  region: number,
): Promise<Omit<Planned, 'to'>[]> {
  const { states: from } = await source.index.readRegion(copy.from, region);
  const { states: into } = await target.index.readRegion(copy.into, region);
  const planned: Omit<Planned, 'to'>[] = [];
  for (let slot = 0; slot < from.count; slot++) {
    if (from.isEmpty(slot)) continue;
    const [above, below] = [contentOf(from, slot), contentOf(into, slot)];
    const becomes = overlaid(copy.isOverlay ? below : nothing, above, copy);
    if (!copy.isOverlay && isCopied(below, becomes)) continue;
    planned.push({ slot, above, below, becomes });
  }
  return planned;
}

const nothing: SlotContent = { clusters: [], zero: 0 };

function contentOf(states: SlotStates, slot: number): SlotContent {
  return { clusters: states.clusters(slot), zero: states.zero(slot) };
}

/** @returns the slots that are done; the others were relocated meanwhile */
async function copyUnit(
  context: CopyContext,
  copy: LayerCopy,
  region: number,
  unit: readonly Omit<Planned, 'to'>[],
): Promise<number[]> {
  const { source, target } = context;
  const wanted = unit.filter(({ becomes }) => becomes.hasCluster).length;
  const held = wanted === 0 ? [] : target.holdClusters(wanted, copy.targets);
  const places = held.flatMap(placesOf);
  const unused = new Set(places);
  let next = 0;
  const planned = unit.map((each): Planned => {
    return { ...each, to: each.becomes.hasCluster ? places[next++] : undefined };
  });
  const ofSource = source.watchOwners(planned.flatMap(({ above }) => placesIn(above)));
  const ofTarget = target.watchOwners(planned.flatMap(({ below }) => placesIn(below)));
  try {
    await target.copyClusters(
      planned.flatMap((each) => copiesFrom(target, each)),
      source,
    );
    await target.copyClusters(planned.flatMap((each) => copiesWithin(target, each)));
    // Outside of the others' way: the batch's own round has nothing left to sync then.
    await target.flush();
    return await context.exclusively(async () => {
      // Others may have taken a cluster away and brought it back, and what was copied is not what it holds now.
      const believed = planned.filter(
        ({ above, below }) =>
          !placesIn(above).some(ofSource.changedHands) &&
          !placesIn(below).some(ofTarget.changedHands),
      );
      const still = await unchanged(context, copy, region, believed);
      await commitSlots(target, copy.into, region, still);
      for (const { to } of still) if (to !== undefined) unused.delete(to);
      return still.map(({ slot }) => slot);
    });
  } finally {
    ofSource.end();
    ofTarget.end();
    target.returnClusters(coalesce([...unused]));
  }
}

function placesIn({ clusters }: SlotContent): ClusterPlace[] {
  return clusters.map(placeOf);
}

function copiesFrom({ clusterBytes }: Pool, { above, to }: Planned): ClusterCopy[] {
  if (to === undefined) return [];
  return above.clusters.flatMap((cluster) =>
    copiesOf(clusterBytes, { from: placeOf(cluster), to, mask: slotMask(cluster.lo) }),
  );
}

function copiesWithin({ clusterBytes }: Pool, { below, becomes, to }: Planned): ClusterCopy[] {
  const [cluster] = below.clusters;
  if (to === undefined || cluster === undefined) return [];
  return copiesOf(clusterBytes, { from: placeOf(cluster), to, mask: becomes.kept });
}

async function unchanged(
  { source, target }: CopyContext,
  copy: LayerCopy,
  region: number,
  planned: readonly Planned[],
): Promise<readonly Planned[]> {
  source.expectOnline();
  const { states: from } = await source.index.readRegion(copy.from, region);
  const { states: into } = await target.index.readRegion(copy.into, region);
  return planned.filter(
    ({ slot, above, below }) =>
      isSameContent(contentOf(from, slot), above) && isSameContent(contentOf(into, slot), below),
  );
}

async function commitSlots(
  target: Pool,
  layer: number,
  region: number,
  slots: readonly Planned[],
): Promise<void> {
  const byLeaf = new Map<number, Planned[]>();
  for (const each of slots) {
    const leaf = Math.floor((region * slotsPerRegion + each.slot) / slotsPerLeaf);
    byLeaf.set(leaf, [...(byLeaf.get(leaf) ?? []), each]);
  }
  const groups = [...byLeaf].map(([leaf, ofLeaf]) => leafOps(layer, leaf, ofLeaf));
  for (const batch of packed(groups, target.batchBytesMax)) await target.commit(batch);
}

function leafOps(layer: number, leaf: number, slots: readonly Planned[]): BatchOp[] {
  const acquired = slots.flatMap(({ to }) => to ?? []);
  const released = slots.flatMap(({ below }) => placesIn(below));
  const change = acquired.length - released.length;
  return [
    { op: 'patch', layer, leaf, entries: slots.flatMap(entriesOf) },
    ...coalesce(acquired).map((run): BatchOp => ({ op: 'acquire', ...run })),
    ...coalesce(released).map((run): BatchOp => ({ op: 'release', ...run })),
    ...(change === 0 ? [] : [{ op: 'count', layer, change } as const]),
  ];
}

function entriesOf({ slot, becomes, to }: Planned): LeafEntry[] {
  const entries = becomes.zero === 0 ? [] : [{ hi: 0, lo: becomes.zero }];
  if (to !== undefined) {
    const [hi, lo] = makeSlot(to.disk, to.cluster, becomes.mask);
    entries.push({ hi, lo });
  }
  const within = slot % slotsPerLeaf;
  if (entries.length === 0) return [{ slot: within, hi: 0, lo: 0 }];
  return entries.sort(compareEntries).map(({ hi, lo }) => ({ slot: within, hi, lo }));
}
