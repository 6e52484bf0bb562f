/**
 * Deltas: changes of one slot each, 32 bytes, as they stand in journal records, in `durable` events and in the
 * pending log (docs/format.md section 4).
 *
 *   u64 layer | u64 slot | u64 new state | u64 released address (0 = none), zero mask in its mask bits
 */
import { readU64, viewOf, writeU64 } from './bytes.ts';
import { expectFormat } from './format-error.ts';

export const deltaBytes = 32;

export interface DeltaView {
  layer: number;
  /** The cluster's number within the volume. */
  slot: number;
  stateHi: number;
  stateLo: number;
  /** Sub-blocks that the slot owns as zeroes from now on. */
  zeroMask: number;
  /** Address of the cluster given up, mask bits zero; both 0 when none was. */
  releasedHi: number;
  releasedLo: number;
}

/** Packs deltas. For tests and tools: the data plane has its own encoder. */
export function encodeDeltas(deltas: readonly DeltaView[]): Uint8Array {
  const bytes = new Uint8Array(deltas.length * deltaBytes);
  const view = viewOf(bytes);
  deltas.forEach((delta, index) => {
    const at = index * deltaBytes;
    writeU64(view, at, delta.layer);
    writeU64(view, at + 8, delta.slot);
    view.setUint32(at + 16, delta.stateLo, true);
    view.setUint32(at + 20, delta.stateHi, true);
    view.setUint32(at + 24, delta.releasedLo + delta.zeroMask, true);
    view.setUint32(at + 28, delta.releasedHi, true);
  });
  return bytes;
}

/**
 * Goes through packed deltas in order, with no allocation per delta.
 *
 * @param visit is lent one view, filled anew for each delta
 * @throws FormatError truncated when the bytes are no whole deltas
 */
export function forEachDelta(bytes: Uint8Array, visit: (delta: DeltaView) => void): void {
  expectFormat(bytes.length % deltaBytes === 0, 'truncated', 'deltas: ends inside a delta');
  const view = viewOf(bytes);
  const delta: DeltaView = {
    layer: 0,
    slot: 0,
    stateHi: 0,
    stateLo: 0,
    zeroMask: 0,
    releasedHi: 0,
    releasedLo: 0,
  };
  for (let at = 0; at < bytes.length; at += deltaBytes) {
    delta.layer = readU64(view, at);
    delta.slot = readU64(view, at + 8);
    delta.stateLo = view.getUint32(at + 16, true);
    delta.stateHi = view.getUint32(at + 20, true);
    const released = view.getUint32(at + 24, true);
    delta.zeroMask = released & 0xffff;
    delta.releasedLo = released - delta.zeroMask;
    delta.releasedHi = view.getUint32(at + 28, true);
    visit(delta);
  }
}
