/**
 * The entries of a checkpoint's payload: u16 key bytes, u32 value bytes, key, value, one after the other.
 */
import { invariant } from '../../base/errors.ts';
import { concatBytes, viewOf } from './bytes.ts';
import { expectFormat } from './format-error.ts';
import { isHostKey } from './index-keys.ts';

/** A key of the index and its value, without the seal. */
export interface IndexEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

const headerBytes = 6;

export function encodeEntry(key: Uint8Array, value: Uint8Array): Uint8Array {
  invariant(key.length > 0 && key.length <= 0xffff, 'a key has 1 to 65535 bytes');
  const entry = new Uint8Array(headerBytes + key.length + value.length);
  const view = viewOf(entry);
  view.setUint16(0, key.length, true);
  view.setUint32(2, value.length, true);
  entry.set(key, headerBytes);
  entry.set(value, headerBytes + key.length);
  return entry;
}

/** Parses entries out of a payload that comes in pieces; keeps the incomplete end of one piece for the next. */
export class EntryParser {
  #rest: Uint8Array = new Uint8Array(0);
  #previousKey: Uint8Array | undefined;

  /** @throws FormatError bad-value keys out of order, empty, or host-local */
  *feed(piece: Uint8Array): Generator<IndexEntry> {
    const bytes = this.#rest.length === 0 ? piece : concatBytes([this.#rest, piece]);
    const view = viewOf(bytes);
    let at = 0;
    while (bytes.length - at >= headerBytes) {
      const keyEnd = at + headerBytes + view.getUint16(at, true);
      const end = keyEnd + view.getUint32(at + 2, true);
      if (end > bytes.length) break;
      const key = bytes.subarray(at + headerBytes, keyEnd);
      this.#expectNext(key);
      yield { key, value: bytes.subarray(keyEnd, end) };
      at = end;
    }
    this.#rest = bytes.slice(at);
  }

  /** @throws FormatError truncated when the payload ended inside an entry */
  finish(): void {
    expectFormat(this.#rest.length === 0, 'truncated', 'checkpoint: ends inside an entry');
  }

  #expectNext(key: Uint8Array): void {
    expectFormat(
      key.length > 0 && !isHostKey(key),
      'bad-value',
      'checkpoint: key that does not belong',
    );
    const previous = this.#previousKey;
    const ascending = previous === undefined || Buffer.compare(previous, key) < 0;
    expectFormat(ascending, 'bad-value', 'checkpoint: keys are not in order');
    this.#previousKey = key;
  }
}
