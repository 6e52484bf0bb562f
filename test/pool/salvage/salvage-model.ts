/**
 * A pool with content, and what salvage is to make of it: computed sub-block by sub-block from the plan of the pool, apart from the code
 * under test.
 *
 *   head 3 ─▶ layer 2 "gold@s": sixty leaves, so that the checkpoint takes several clusters; the journal writes to the head
 */
import { encodeBatch } from '../../../src/pool/format/batch.ts';
import { leafKey } from '../../../src/pool/format/index-keys.ts';
import { makeSlot } from '../../../src/pool/format/slot.ts';
import type { LossReason, MissingRange } from '../../../src/pool/salvage/types.ts';
import {
  checkpointEntries,
  deltas,
  diskUuids,
  type PoolSpec,
  slotDelta,
} from '../check/pool-files.ts';

export const clusterBytes = 16384;
export const subBlockBytes = clusterBytes / 16;
export const leafBytes = 64 * clusterBytes;
export const leafCount = 60;
/** The last cluster of the volume is not a whole one. */
export const sizeBytes = leafCount * leafBytes - 512;
export const chainClusters = [
  [400, 401, 402],
  [410, 411, 412],
];
export const firstRecordAt = 65536;

type Claim = { readonly disk: number; readonly cluster: number; readonly mask: number };
/** By layer and slot; disk 0, cluster 0: owned zeroes. */
export type Plan = Map<string, Claim[]>;

const name = (layer: number, slot: number) => `${layer}/${slot}`;

/** The plan after the first `records` records of the tail. */
export function planAfter(records: number): Plan {
  const plan: Plan = new Map();
  for (const [layer, slot, disk, cluster, mask] of contentSpec().slots) {
    const key = name(layer, slot);
    plan.set(key, [...(plan.get(key) ?? []), { disk, cluster, mask }]);
  }
  const set = (slot: number, ...claims: Claim[]) => plan.set(name(3, slot), claims);
  if (records > 0) set(200, { disk: 1, cluster: 300, mask: 0x00f0 });
  if (records > 1) set(1, { disk: 1, cluster: 301, mask: 0xffff });
  if (records > 2) set(5);
  if (records > 3) set(900, { disk: 0, cluster: 200, mask: 0xff00 });
  return plan;
}

/** Layer 2 has a data cluster in each leaf, and owned zeroes all over; the head lies over some of it. */
export function contentSpec(): PoolSpec {
  const slots: PoolSpec['slots'] = [];
  for (let leaf = 0; leaf < leafCount; leaf++) {
    slots.push([2, leaf * 64, leaf % 2, 30 + leaf, 0xffff]);
    for (let slot = 1; slot < 64; slot++) slots.push([2, leaf * 64 + slot, 0, 0, 0xffff]);
  }
  slots.push([3, 0, 1, 302, 0x000f], [3, 5, 0, 200, 0x0003], [3, 64, 0, 201, 0x8001]);
  const volume = { id: 1, name: 'gold', sizeBytes, headLayer: 3 };
  const batch = encodeBatch([{ op: 'count', layer: 3, change: 0 }]);
  const released = makeSlot(0, 200, 0);
  const unset = { ...slotDelta(5, [0, 0], released), layer: 3 };
  const written = (slot: number, ...[disk, cluster, mask]: [number, number, number]) => ({
    ...slotDelta(slot, makeSlot(disk, cluster, mask)),
    layer: 3,
  });
  return {
    slots,
    used: [],
    records: {
      'disk/0': { uuid: diskUuids[0] },
      'disk/1': { uuid: diskUuids[1] },
      'layer/2': { parent: null },
      'layer/3': { parent: 2 },
      'snapshot/1': { id: 1, volume: 1, name: 's', layer: 2, sizeBytes },
      'volume/1': volume,
    },
    extra: [],
    chains: chainClusters,
    checkpointSequence: 5,
    tail: [
      deltas(1, written(200, 1, 300, 0x00f0)),
      deltas(2, written(1, 1, 301, 0xffff)),
      deltas(3, unset),
      deltas(4, written(900, 0, 200, 0xff00)),
      { kind: 2, payload: batch },
    ],
    labels: [{}, {}],
  };
}

/** What lies in a sub-block of a disk: no two are alike. */
export function pattern(disk: number, cluster: number, sub: number): Buffer {
  const bytes = Buffer.alloc(subBlockBytes);
  for (let at = 0; at < bytes.length; at += 16) {
    bytes.writeUInt32LE(0xda7a0000 + disk, at);
    bytes.writeUInt32LE(cluster, at + 4);
    bytes.writeUInt32LE(sub, at + 8);
    bytes.writeUInt32LE(at, at + 12);
  }
  return bytes;
}

/** Fills every data cluster of a disk's image. */
export function fillData(image: Buffer, disk: number): void {
  const clusters = [...Array(leafCount).keys()].map((leaf) => 30 + leaf);
  for (const cluster of [...clusters, 200, 201, 300, 301, 302]) {
    for (let sub = 0; sub < 16; sub++) {
      pattern(disk, cluster, sub).copy(image, cluster * clusterBytes + sub * subBlockBytes);
    }
  }
}

/** What keeps a sub-block from being had; undefined: nothing. */
export type Fault = (claim: Claim, sub: number) => LossReason | undefined;

export interface Expected {
  readonly image: Buffer;
  readonly missing: readonly Pick<MissingRange, 'offset' | 'length' | 'reason'>[];
}

/**
 * @param layers the uppermost first
 * @param unknown why nothing is known of a layer's leaf
 */
export function expected(
  plan: Plan,
  layers: readonly number[],
  faults: {
    readonly fault?: Fault;
    readonly unknown?: (layer: number, leaf: number) => LossReason | undefined;
  } = {},
): Expected {
  const image = Buffer.alloc(sizeBytes);
  const missing: { offset: number; length: number; reason: LossReason }[] = [];
  for (let offset = 0; offset < sizeBytes; offset += subBlockBytes) {
    const length = Math.min(subBlockBytes, sizeBytes - offset);
    const found = findSubBlock(plan, layers, offset, faults);
    if (found === undefined) continue;
    if (typeof found !== 'string') {
      found.copy(image, offset, 0, length);
      continue;
    }
    const last = missing.at(-1);
    if (last !== undefined && last.reason === found && last.offset + last.length === offset) {
      last.length += length;
    } else missing.push({ offset, length, reason: found });
  }
  return { image, missing };
}

function findSubBlock(
  plan: Plan,
  layers: readonly number[],
  offset: number,
  { fault, unknown }: NonNullable<Parameters<typeof expected>[2]>,
): Buffer | LossReason | undefined {
  const slot = Math.floor(offset / clusterBytes);
  const sub = (offset % clusterBytes) / subBlockBytes;
  for (const layer of layers) {
    const reason = unknown?.(layer, Math.floor(slot / 64));
    if (reason !== undefined) return reason;
    for (const claim of plan.get(name(layer, slot)) ?? []) {
      if (((claim.mask >> sub) & 1) === 0) continue;
      if (claim.cluster === 0) return undefined;
      return fault?.(claim, sub) ?? pattern(claim.disk, claim.cluster, sub);
    }
  }
  return undefined;
}

/** Which leaves nobody knows when a cluster of every replica of the checkpoint is lost: those whose entries touch it, and any between them. */
export function leavesLostWith(
  spec: PoolSpec,
  block: number,
): (layer: number, leaf: number) => boolean {
  const payloadBytes = clusterBytes - 32;
  const [from, end] = [block * payloadBytes, (block + 1) * payloadBytes];
  let at = 0;
  let after = Buffer.alloc(0);
  let before: Uint8Array | undefined;
  for (const { key, value } of checkpointEntries(spec)) {
    const entryEnd = at + 6 + key.length + value.length;
    if (entryEnd <= from) after = Buffer.from(key);
    if (at >= end) before ??= key;
    at = entryEnd;
  }
  return (layer, leaf) => {
    const key = leafKey(layer, leaf);
    return (
      Buffer.compare(key, after) > 0 && (before === undefined || Buffer.compare(key, before) < 0)
    );
  };
}

/** Ranges as the model has them: neighbours of one reason are one, whatever the details. */
export function byReason(missing: readonly MissingRange[]): Expected['missing'] {
  const joined: { offset: number; length: number; reason: LossReason }[] = [];
  for (const { offset, length, reason } of missing) {
    const last = joined.at(-1);
    if (last?.reason === reason && last.offset + last.length === offset) last.length += length;
    else joined.push({ offset, length, reason });
  }
  return joined;
}
