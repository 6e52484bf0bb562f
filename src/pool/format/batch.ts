/**
 * Batches: control-plane operations of one journal record, applied together (docs/format.md section 4).
 *
 * Pure. `decodeBatch(encodeBatch(ops))` equals `ops`; bytes that are no whole batch are refused.
 */
import { invariant } from '../../base/errors.ts';
import { slotsPerLeaf } from '../../base/units.ts';
import { readU64, viewOf, writeU64 } from './bytes.ts';
import { expectFormat } from './format-error.ts';
import { entryBytes, type LeafEntry } from './leaf.ts';
import { isSealable, type LeafSeal } from './seal.ts';

/** A run of physical clusters on one disk. */
export interface ClusterRun {
  readonly disk: number;
  readonly firstCluster: number;
  readonly count: number;
}

export type BatchOp =
  | { readonly op: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly op: 'delete'; readonly key: Uint8Array }
  | ({ readonly op: 'release' } & ClusterRun)
  | ({ readonly op: 'acquire' } & ClusterRun)
  | {
      readonly op: 'delete-leaves';
      readonly layer: number;
      readonly firstLeaf: number;
      readonly count: number;
    }
  /** The whole new content of each slot that appears; one that becomes empty appears once with state 0. */
  | {
      readonly op: 'patch';
      readonly layer: number;
      readonly leaf: number;
      readonly entries: readonly LeafEntry[];
    }
  /** The layer owns so many clusters more, or fewer. */
  | { readonly op: 'count'; readonly layer: number; readonly change: number }
  /** Seals entries that are there like that; of others it is void. A patch before it in the batch has its effect. */
  | {
      readonly op: 'seal';
      readonly layer: number;
      readonly leaf: number;
      readonly seals: readonly LeafSeal[];
    };

const codes = {
  put: 1,
  delete: 2,
  release: 3,
  acquire: 4,
  'delete-leaves': 5,
  patch: 6,
  count: 7,
  seal: 8,
} as const;
const putHeaderBytes = 7;
const deleteHeaderBytes = 3;
const runBytes = 18;
const deleteLeavesBytes = 25;
const patchHeaderBytes = 19;
const countBytes = 17;
const sealHeaderBytes = 19;
const sealBytes = 17;

function opBytes(op: BatchOp): number {
  switch (op.op) {
    case 'put':
      return putHeaderBytes + op.key.length + op.value.length;
    case 'delete':
      return deleteHeaderBytes + op.key.length;
    case 'delete-leaves':
      return deleteLeavesBytes;
    case 'patch':
      return patchHeaderBytes + op.entries.length * entryBytes;
    case 'count':
      return countBytes;
    case 'seal':
      return sealHeaderBytes + op.seals.length * sealBytes;
    default:
      return runBytes;
  }
}

/** Bytes of the batch's payload; a record takes at most 1 MiB. */
export function batchBytes(ops: readonly BatchOp[]): number {
  return ops.reduce((sum, op) => sum + opBytes(op), 0);
}

/** As few batches as hold the groups; what is in one group stays together. */
export function packed(groups: readonly (readonly BatchOp[])[], bytesMax: number): BatchOp[][] {
  const batches: BatchOp[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const group of groups) {
    if (group.length === 0) continue;
    const added = batchBytes(group);
    if (bytes + added > bytesMax) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(...group);
    bytes += added;
  }
  return batches;
}

function encodeKeyed(bytes: Uint8Array, view: DataView, at: number, op: BatchOp): void {
  if (op.op !== 'put' && op.op !== 'delete') return;
  invariant(op.key.length > 0 && op.key.length <= 0xffff, 'a key has 1 to 65535 bytes');
  view.setUint16(at + 1, op.key.length, true);
  if (op.op === 'delete') {
    bytes.set(op.key, at + deleteHeaderBytes);
    return;
  }
  view.setUint32(at + 3, op.value.length, true);
  bytes.set(op.key, at + putHeaderBytes);
  bytes.set(op.value, at + putHeaderBytes + op.key.length);
}

function encodePatch(view: DataView, at: number, op: Extract<BatchOp, { op: 'patch' }>): void {
  invariant(op.entries.length <= 0xffff, 'a leaf has fewer entries');
  writeU64(view, at + 1, op.layer);
  writeU64(view, at + 9, op.leaf);
  view.setUint16(at + 17, op.entries.length, true);
  op.entries.forEach(({ slot, hi, lo }, index) => {
    const from = at + patchHeaderBytes + index * entryBytes;
    view.setUint8(from, slot);
    view.setUint32(from + 1, lo, true);
    view.setUint32(from + 5, hi, true);
  });
}

function encodeSeals(view: DataView, at: number, op: Extract<BatchOp, { op: 'seal' }>): void {
  invariant(op.seals.length <= 0xffff, 'a leaf has fewer entries');
  writeU64(view, at + 1, op.layer);
  writeU64(view, at + 9, op.leaf);
  view.setUint16(at + 17, op.seals.length, true);
  op.seals.forEach(({ slot, hi, lo, hashHi, hashLo }, index) => {
    const from = at + sealHeaderBytes + index * sealBytes;
    view.setUint8(from, slot);
    [lo, hi, hashLo, hashHi].forEach((word, n) => {
      view.setUint32(from + 1 + 4 * n, word, true);
    });
  });
}

function encodeOp(bytes: Uint8Array, view: DataView, at: number, op: BatchOp): void {
  view.setUint8(at, codes[op.op]);
  switch (op.op) {
    case 'put':
    case 'delete':
      encodeKeyed(bytes, view, at, op);
      return;
    case 'release':
    case 'acquire':
      view.setUint8(at + 1, op.disk);
      writeU64(view, at + 2, op.firstCluster);
      writeU64(view, at + 10, op.count);
      return;
    case 'delete-leaves':
      writeU64(view, at + 1, op.layer);
      writeU64(view, at + 9, op.firstLeaf);
      writeU64(view, at + 17, op.count);
      return;
    case 'patch':
      encodePatch(view, at, op);
      return;
    case 'count':
      writeU64(view, at + 1, op.layer);
      view.setBigInt64(at + 9, BigInt(op.change), true);
      return;
    case 'seal':
      encodeSeals(view, at, op);
  }
}

export function encodeBatch(ops: readonly BatchOp[]): Uint8Array {
  const bytes = new Uint8Array(batchBytes(ops));
  const view = viewOf(bytes);
  let at = 0;
  for (const op of ops) {
    encodeOp(bytes, view, at, op);
    at += opBytes(op);
  }
  return bytes;
}

/** Takes fields off the front; whatever is missing is a truncation. */
class Cursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  get ended(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8 = (): number => this.#view.getUint8(this.#advance(1));
  u16 = (): number => this.#view.getUint16(this.#advance(2), true);
  u32 = (): number => this.#view.getUint32(this.#advance(4), true);
  u64 = (): number => readU64(this.#view, this.#advance(8));
  i64 = (): number => Number(this.#view.getBigInt64(this.#advance(8), true));

  bytes(length: number): Uint8Array {
    const from = this.#advance(length);
    return this.#bytes.slice(from, from + length);
  }

  #advance(length: number): number {
    const from = this.#at;
    expectFormat(
      from + length <= this.#bytes.length,
      'truncated',
      'batch: ends inside an operation',
    );
    this.#at = from + length;
    return from;
  }
}

function decodePut(cursor: Cursor): BatchOp {
  const keyBytes = cursor.u16();
  const valueBytes = cursor.u32();
  return { op: 'put', key: cursor.bytes(keyBytes), value: cursor.bytes(valueBytes) };
}

function decodeRun(cursor: Cursor): ClusterRun {
  return { disk: cursor.u8(), firstCluster: cursor.u64(), count: cursor.u64() };
}

function decodePatch(cursor: Cursor): BatchOp {
  const layer = cursor.u64();
  const leaf = cursor.u64();
  const count = cursor.u16();
  const entries: LeafEntry[] = [];
  for (let at = 0; at < count; at++) {
    const slot = cursor.u8();
    const lo = cursor.u32();
    const hi = cursor.u32();
    const previous = entries.at(-1)?.slot ?? 0;
    expectFormat(slot < slotsPerLeaf && slot >= previous, 'bad-value', `batch: slot ${slot}`);
    entries.push({ slot, hi, lo });
  }
  return { op: 'patch', layer, leaf, entries };
}

function decodeSeals(cursor: Cursor): BatchOp {
  const layer = cursor.u64();
  const leaf = cursor.u64();
  const count = cursor.u16();
  const seals: LeafSeal[] = [];
  for (let at = 0; at < count; at++) {
    const slot = cursor.u8();
    const [lo, hi, hashLo, hashHi] = [cursor.u32(), cursor.u32(), cursor.u32(), cursor.u32()];
    const isSound = slot < slotsPerLeaf && isSealable({ hi, lo });
    expectFormat(isSound, 'bad-value', `batch: seal of slot ${slot}`);
    seals.push({ slot, hi, lo, hashHi, hashLo });
  }
  return { op: 'seal', layer, leaf, seals };
}

function decodeOp(cursor: Cursor): BatchOp {
  const code = cursor.u8();
  switch (code) {
    case codes.put:
      return decodePut(cursor);
    case codes.delete:
      return { op: 'delete', key: cursor.bytes(cursor.u16()) };
    case codes.release:
      return { op: 'release', ...decodeRun(cursor) };
    case codes.acquire:
      return { op: 'acquire', ...decodeRun(cursor) };
    case codes['delete-leaves']:
      return {
        op: 'delete-leaves',
        layer: cursor.u64(),
        firstLeaf: cursor.u64(),
        count: cursor.u64(),
      };
    case codes.patch:
      return decodePatch(cursor);
    case codes.count:
      return { op: 'count', layer: cursor.u64(), change: cursor.i64() };
    case codes.seal:
      return decodeSeals(cursor);
  }
  expectFormat(false, 'bad-value', `batch: unknown operation ${code}`);
}

/** @throws FormatError truncated, bad-value for an operation that is not known */
export function decodeBatch(bytes: Uint8Array): BatchOp[] {
  const cursor = new Cursor(bytes);
  const ops: BatchOp[] = [];
  while (!cursor.ended) ops.push(decodeOp(cursor));
  return ops;
}
