/**
 * Tail: what the journal's records change, laid over an index that does not have them yet.
 *
 * Kept by kind and in its last state only, so that memory is bounded by the ring: patches of leaves, two bits per
 * cluster (is it changed, and to what), records by name.
 */

import { slotsPerLeaf } from '../../base/units.ts';
import { clearBit, setBit } from '../bitmap.ts';
import { type BatchOp, type ClusterRun, decodeBatch } from '../format/batch.ts';
import { type DeltaView, forEachDelta } from '../format/delta.ts';
import { FormatError } from '../format/format-error.ts';
import { parseIndexKey } from '../format/index-keys.ts';
import { decodeDeltasPayload, type JournalRecord, recordKind } from '../format/journal-record.ts';
import { slotCluster, slotDisk, slotHasAddress } from '../format/slot.ts';
import type { SlotEntry } from '../format/slot-states.ts';
import { bySlot } from '../overlay.ts';
import { foreignSpaceIn } from './foreign.ts';

export interface UsedPatch {
  readonly changed: Uint32Array;
  readonly used: Uint32Array;
}

export interface LayerPatch {
  /** Leaves of the index in these ranges are gone. */
  readonly cleared: { readonly first: number; readonly end: number }[];
  /** The new content of changed slots, by leaf. */
  readonly leaves: Map<number, Map<number, readonly SlotEntry[]>>;
}

export class Tail {
  readonly layers = new Map<number, LayerPatch>();
  readonly records = new Map<string, Uint8Array | null>();
  readonly used: Map<number, UsedPatch>;
  recordCount = 0;
  #epoch = 0;
  #serial = 0;

  /** @param clusterCounts of each disk, by number */
  constructor(clusterCounts: ReadonlyMap<number, number>) {
    this.used = new Map(
      [...clusterCounts].map(([disk, count]) => [
        disk,
        { changed: bitsFor(count), used: bitsFor(count) },
      ]),
    );
  }

  /** @throws FormatError the record is sound but says something impossible; it may be applied in part */
  apply(record: JournalRecord): void {
    this.recordCount += 1;
    if (record.kind === recordKind.batch) {
      for (const op of decodeBatch(record.payload)) this.#applyOp(op);
      return;
    }
    const { firstSerial, deltas } = decodeDeltasPayload(record.payload);
    this.#checkSerials(record.epoch, firstSerial, deltas.length / 32);
    forEachDelta(deltas, (delta) => this.#applyDelta(delta));
  }

  #checkSerials(epoch: number, firstSerial: number, count: number): void {
    const last = epoch === this.#epoch ? this.#serial : 0;
    this.#epoch = epoch;
    this.#serial = firstSerial + count - 1;
    if (firstSerial > last) return;
    throw new FormatError('bad-value', `serial ${firstSerial} comes after ${last}`);
  }

  #applyDelta(delta: DeltaView): void {
    const { slot, stateHi: hi, stateLo: lo } = delta;
    const leaf = Math.floor(slot / slotsPerLeaf);
    this.#change(delta.layer, leaf, slot % slotsPerLeaf, [
      ...(delta.zeroMask === 0 ? [] : [{ hi: 0, lo: delta.zeroMask }]),
      ...(hi === 0 && lo === 0 ? [] : [{ hi, lo }]),
    ]);
    if (slotHasAddress(hi, lo)) this.#mark(slotDisk(hi), slotCluster(hi, lo), true);
    const { releasedHi, releasedLo } = delta;
    if (!slotHasAddress(releasedHi, releasedLo)) return;
    this.#mark(slotDisk(releasedHi), slotCluster(releasedHi, releasedLo), false);
  }

  #applyOp(op: BatchOp): void {
    switch (op.op) {
      case 'put':
        this.#put(recordName(op.key), op.value);
        return;
      case 'delete':
        this.records.set(recordName(op.key), null);
        return;
      case 'release':
      case 'acquire':
        this.#markRun(op, op.op === 'acquire');
        return;
      case 'delete-leaves':
        this.#clear(this.#layer(op.layer), op.firstLeaf, op.firstLeaf + op.count);
        return;
      case 'patch':
        for (const [slot, content] of bySlot(op.entries)) {
          this.#change(op.layer, op.leaf, slot, content);
        }
        return;
      case 'count':
      // Counts follow the fold; they are compared with the leaves of the checkpoint (walk.ts).
    }
  }

  /** A foreign disk is known from its record on. */
  #put(name: string, value: Uint8Array): void {
    this.records.set(name, value);
    const space = foreignSpaceIn(name, value);
    if (space === undefined || this.used.has(space.number)) return;
    const [changed, used] = [bitsFor(space.clusterCount), bitsFor(space.clusterCount)];
    this.used.set(space.number, { changed, used });
  }

  #change(layer: number, leaf: number, slot: number, content: readonly SlotEntry[]): void {
    const { leaves } = this.#layer(layer);
    const slots = leaves.get(leaf) ?? new Map<number, readonly SlotEntry[]>();
    leaves.set(leaf, slots.set(slot, content));
  }

  #clear(layer: LayerPatch, first: number, end: number): void {
    layer.cleared.push({ first, end });
    for (const leaf of layer.leaves.keys()) {
      if (leaf >= first && leaf < end) layer.leaves.delete(leaf);
    }
  }

  #layer(layer: number): LayerPatch {
    const known = this.layers.get(layer);
    if (known !== undefined) return known;
    const patch: LayerPatch = { cleared: [], leaves: new Map() };
    this.layers.set(layer, patch);
    return patch;
  }

  #markRun(run: ClusterRun, used: boolean): void {
    for (let at = 0; at < run.count; at++) this.#mark(run.disk, run.firstCluster + at, used);
  }

  #mark(disk: number, cluster: number, used: boolean): void {
    const patch = this.used.get(disk);
    if (patch === undefined || cluster >= patch.used.length * 32) {
      throw new FormatError('bad-value', `there is no cluster ${cluster} on disk ${disk}`);
    }
    setBit(patch.changed, cluster);
    if (used) setBit(patch.used, cluster);
    else clearBit(patch.used, cluster);
  }
}

export function bitsFor(count: number): Uint32Array {
  return new Uint32Array(Math.ceil(count / 32));
}

function recordName(key: Uint8Array): string {
  const parsed = parseIndexKey(key);
  if (parsed.kind === 'record') return parsed.name;
  throw new FormatError('bad-value', `a batch changes a key of kind ${parsed.kind}`);
}
