/**
 * Tail: what the journal's records change, laid over an index that does not have them yet.
 *
 * Kept by kind and in its last state only, so that memory is bounded by the ring: patches of leaves, two bits per
 * cluster (is it changed, and to what), records by name.
 */

import { slotsPerLeaf } from '../../base/units.ts';
import { clearBit, setBit } from '../bitmap.ts';
import type { DiskSpaceSpec } from '../disk-space.ts';
import type { ForeignDiskRecord } from '../foreign-disk.ts';
import { type BatchOp, type ClusterRun, decodeBatch } from '../format/batch.ts';
import { type DeltaView, forEachDelta } from '../format/delta.ts';
import { FormatError } from '../format/format-error.ts';
import { parseIndexKey } from '../format/index-keys.ts';
import { decodeDeltasPayload, type JournalRecord, recordKind } from '../format/journal-record.ts';
import type { LeafSeal } from '../format/seal.ts';
import { slotCluster, slotDisk, slotHasAddress } from '../format/slot.ts';
import type { SlotEntry } from '../format/slot-states.ts';
import { deleteIn, type LeafRange, LeafRanges } from '../leaf-ranges.ts';
import { bySlot } from '../overlay.ts';
import { diskRecordName } from '../pool-records.ts';
import { foreignSpace } from '../pool-state.ts';
import { foreignSpaceIn } from './foreign.ts';

export interface UsedPatch {
  readonly changed: Uint32Array;
  readonly used: Uint32Array;
}

export interface LayerPatch {
  /** Leaves of the index in these ranges are gone. */
  readonly cleared: LeafRanges;
  /** The new content of changed slots, by leaf. */
  readonly leaves: Map<number, Map<number, readonly SlotEntry[]>>;
  /** Of entries that are there like that in the end, by leaf; each of these leaves is among `leaves`. */
  readonly seals: Map<number, readonly LeafSeal[]>;
}

export class Tail {
  readonly layers = new Map<number, LayerPatch>();
  readonly records = new Map<string, Uint8Array | null>();
  readonly used: Map<number, UsedPatch>;
  /** Foreign disks that were let go: bitmaps of these in the index are gone with them. */
  readonly gone = new Set<number>();
  readonly #foreign = new Map<string, number>();
  recordCount = 0;
  #epoch = 0;
  #serial = 0;

  /**
   * @param clusterCounts of each of the pool's own disks, by number
   * @param foreign disks that are known before the first record
   */
  constructor(
    clusterCounts: ReadonlyMap<number, number>,
    foreign: readonly ForeignDiskRecord[] = [],
  ) {
    this.used = new Map([...clusterCounts].map(([disk, count]) => [disk, emptyPatch(count)]));
    for (const disk of foreign) this.#addForeign(diskRecordName(disk.number), foreignSpace(disk));
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
    if (firstSerial === 0) return;
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
        this.#delete(recordName(op.key));
        return;
      case 'release':
      case 'acquire':
        this.#markRun(op, op.op === 'acquire');
        return;
      case 'delete-leaves':
        this.#clear(this.#layer(op.layer), op);
        return;
      case 'patch':
        for (const [slot, content] of bySlot(op.entries)) {
          this.#change(op.layer, op.leaf, slot, content);
        }
        return;
      case 'seal':
        this.#seal(op);
        return;
      case 'count':
      // Counts follow the fold; they are compared with the leaves of the checkpoint (walk.ts).
    }
  }

  /** A foreign disk is known from its record on. */
  #put(name: string, value: Uint8Array): void {
    this.records.set(name, value);
    const space = foreignSpaceIn(name, value);
    if (space !== undefined && !this.used.has(space.number)) this.#addForeign(name, space);
  }

  #addForeign(name: string, { number, clusterCount }: DiskSpaceSpec): void {
    this.#foreign.set(name, number);
    this.used.set(number, emptyPatch(clusterCount));
  }

  /** A foreign disk goes with its record; another may get its number. */
  #delete(name: string): void {
    this.records.set(name, null);
    const disk = this.#foreign.get(name);
    if (disk === undefined) return;
    this.#foreign.delete(name);
    this.used.delete(disk);
    this.gone.add(disk);
  }

  #change(layer: number, leaf: number, slot: number, content: readonly SlotEntry[]): void {
    const { leaves, seals } = this.#layer(layer);
    const slots = leaves.get(leaf) ?? new Map<number, readonly SlotEntry[]>();
    leaves.set(leaf, slots.set(slot, content));
    const sealed = seals.get(leaf)?.filter((seal) => seal.slot !== slot);
    if (sealed !== undefined) seals.set(leaf, sealed);
  }

  #seal({ layer, leaf, seals }: Extract<BatchOp, { op: 'seal' }>): void {
    const patch = this.#layer(layer);
    if (!patch.leaves.has(leaf)) patch.leaves.set(leaf, new Map());
    patch.seals.set(leaf, [...(patch.seals.get(leaf) ?? []), ...seals]);
  }

  #clear(layer: LayerPatch, range: LeafRange): void {
    layer.cleared.add(range);
    deleteIn(layer.leaves, range);
    deleteIn(layer.seals, range);
  }

  #layer(layer: number): LayerPatch {
    const known = this.layers.get(layer);
    if (known !== undefined) return known;
    const patch: LayerPatch = { cleared: new LeafRanges(), leaves: new Map(), seals: new Map() };
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

function emptyPatch(clusterCount: number): UsedPatch {
  return { changed: bitsFor(clusterCount), used: bitsFor(clusterCount) };
}

export function bitsFor(count: number): Uint32Array {
  return new Uint32Array(Math.ceil(count / 32));
}

function recordName(key: Uint8Array): string {
  const parsed = parseIndexKey(key);
  if (parsed.kind === 'record') return parsed.name;
  throw new FormatError('bad-value', `a batch changes a key of kind ${parsed.kind}`);
}
