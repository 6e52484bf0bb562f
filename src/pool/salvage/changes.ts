/**
 * What journal records change, laid over a checkpoint; and which clusters records that cannot be applied have taken.
 */
import { decodeBatch } from '../format/batch.ts';
import { forEachDelta } from '../format/delta.ts';
import { decodeDeltasPayload, type JournalRecord, recordKind } from '../format/journal-record.ts';
import { slotCluster, slotDisk, slotHasAddress } from '../format/slot.ts';
import type { Generation } from '../overlay.ts';

/** Of a layer. */
export interface SlotPlace {
  readonly layer: number;
  readonly slot: number;
}

/** @throws FormatError the record is sound but says something impossible; it may be applied in part */
export function applyRecord(record: JournalRecord, changes: Generation): void {
  if (record.kind === recordKind.deltas) {
    forEachDelta(decodeDeltasPayload(record.payload).deltas, (delta) => {
      const { layer, slot, stateLo, stateHi, zeroMask } = delta;
      changes.setSlot(layer, slot, stateLo, stateHi, zeroMask);
    });
    return;
  }
  for (const op of decodeBatch(record.payload)) {
    if (op.op === 'put') changes.setKey(op.key, op.value);
    if (op.op === 'delete') changes.setKey(op.key, null);
    if (op.op === 'delete-leaves') changes.clearLeaves(op.layer, op);
    if (op.op === 'patch') changes.patch(op.layer, op.leaf, op.entries);
    if (op.op === 'seal') changes.seal(op.layer, op.leaf, op.seals);
  }
}

/** Clusters that got another content after the state that is shown. */
export class TakenClusters {
  readonly #taken = new Map<string, SlotPlace>();
  readonly #runs: { disk: number; first: number; end: number }[] = [];

  /** @throws FormatError as applyRecord */
  add(record: JournalRecord): void {
    if (record.kind === recordKind.deltas) {
      forEachDelta(decodeDeltasPayload(record.payload).deltas, (delta) => {
        const { layer, slot, stateLo: lo, stateHi: hi } = delta;
        if (!slotHasAddress(hi, lo)) return;
        this.#taken.set(`${slotDisk(hi)}:${slotCluster(hi, lo)}`, { layer, slot });
      });
      return;
    }
    for (const op of decodeBatch(record.payload)) {
      if (op.op !== 'acquire') continue;
      const { disk, firstCluster: first, count } = op;
      this.#runs.push({ disk, first, end: first + count });
    }
  }

  /** Whether the cluster may hold something else than what the slot had there. */
  has(disk: number, cluster: number, { layer, slot }: SlotPlace): boolean {
    const by = this.#taken.get(`${disk}:${cluster}`);
    if (by && (by.layer !== layer || by.slot !== slot)) return true;
    return this.#runs.some((run) => run.disk === disk && cluster >= run.first && cluster < run.end);
  }
}
