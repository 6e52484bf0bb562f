/**
 * The pending log: acknowledged map changes of a killed process (docs/format.md section 7).
 *
 * Pure reader; the data plane writes it. Nothing in it is checksummed: it lives only in the page cache of one boot,
 * and counts only where its header names this boot, pool and epoch.
 */
import { readU64, uuidText, viewOf } from './bytes.ts';
import { deltaBytes } from './delta.ts';

const magic = Buffer.from('VARVEPND', 'latin1');
const headerBytes = 4096;
const entryBytes = 8 + deltaBytes;
const bootIdBytes = 36;
const at = {
  version: 8,
  poolUuid: 16,
  epoch: 32,
  capacity: 40,
  durableSerial: 48,
  bootId: 56,
} as const;

export interface PendingLogExpectation {
  readonly poolUuid: string;
  /** Of the life that wrote it. */
  readonly epoch: number;
  readonly bootId: string;
  /** The last serial found in the journal in that epoch, 0 if none. */
  readonly durableSerial: number;
}

export interface PendingDeltas {
  /** Packed, 32 bytes each, in the order of their serials. */
  readonly deltas: Uint8Array;
  /** Serial of the last of them; the larger durable serial when there is none. */
  readonly lastSerial: number;
}

export type PendingLog = PendingDeltas | { readonly invalid: string };

function reasonAgainst(bytes: Uint8Array, expected: PendingLogExpectation): string | undefined {
  if (bytes.length < headerBytes) return 'it is shorter than its header';
  if (!magic.equals(bytes.subarray(0, 8))) return 'it is no pending log';
  const view = viewOf(bytes);
  if (view.getUint32(at.version, true) !== 1) return 'it is of another version';
  if (uuidText(bytes.subarray(at.poolUuid, at.epoch)) !== expected.poolUuid)
    return 'it is of another pool';
  if (view.getBigUint64(at.epoch, true) !== BigInt(expected.epoch)) return 'it is of another epoch';
  const bootId = Buffer.from(bytes.subarray(at.bootId, at.bootId + bootIdBytes)).toString('latin1');
  if (bootId !== expected.bootId) return 'the machine was restarted since';
  const room = BigInt(Math.floor((bytes.length - headerBytes) / entryBytes));
  const capacity = view.getBigUint64(at.capacity, true);
  if (capacity === 0n || capacity > room) return 'its capacity does not fit its size';
  const durable = view.getBigUint64(at.durableSerial, true);
  if (durable > BigInt(Number.MAX_SAFE_INTEGER)) return 'its durable serial is out of range';
  return undefined;
}

/** Serials that count, ascending. A gap is a change that was never acknowledged: its writer died inside it. */
function countedSerials(view: DataView, capacity: number, floor: number): number[] {
  const serials: number[] = [];
  for (let index = 0; index < capacity; index++) {
    const from = headerBytes + index * entryBytes;
    if (view.getUint32(from + 4, true) >= 2 ** 21) continue;
    const serial = readU64(view, from);
    if (serial > floor && serial % capacity === index) serials.push(serial);
  }
  return serials.sort((a, b) => a - b);
}

/** What a pending log holds beyond the journal, or why it does not count. */
export function readPendingLog(bytes: Uint8Array, expected: PendingLogExpectation): PendingLog {
  const invalid = reasonAgainst(bytes, expected);
  if (invalid !== undefined) return { invalid };
  const view = viewOf(bytes);
  const capacity = readU64(view, at.capacity);
  const floor = Math.max(expected.durableSerial, readU64(view, at.durableSerial));
  const serials = countedSerials(view, capacity, floor);
  const deltas = new Uint8Array(serials.length * deltaBytes);
  serials.forEach((serial, index) => {
    const from = headerBytes + (serial % capacity) * entryBytes + 8;
    deltas.set(bytes.subarray(from, from + deltaBytes), index * deltaBytes);
  });
  return { deltas, lastSerial: serials.at(-1) ?? floor };
}
