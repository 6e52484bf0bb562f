/**
 * Backup stream: the layouts (docs/format.md, section 12).
 *
 *   preamble, header document │ frame, data │ frame (zeroes) │ frame, data │ … │ end frame
 *
 * The hash in the preamble is the stream's id; every frame's hash includes it, so a frame of another stream is no frame here. Pure.
 */
import { StorageError } from '../base/errors.ts';
import { concatBytes, readU64, viewOf, writeU64 } from '../pool/format/bytes.ts';
import { xxh64 } from '../pool/format/hash.ts';

export const formatVersion = 1;
export const preambleBytes = 24;
export const frameBytes = 48;
/** Note, labels and attachment have limits of their own; escaped they are far less than this. */
const documentBytesMax = 1024 * 1024;
/** Of data in one frame: what is read and checked at a time. */
export const dataBytesMax = 1024 * 1024;
const magic = new TextEncoder().encode('VARVEBKP');
const kinds = ['data', 'zero', 'end'] as const;

export interface Preamble {
  readonly documentBytes: number;
  readonly id: bigint;
}

export interface Frame {
  readonly kind: (typeof kinds)[number];
  readonly sequence: number;
  /** Of an end frame: bytes of data in the stream. */
  readonly offset: number;
  /** Of an end frame: bytes of zeroes. */
  readonly length: number;
  /** Of the data; zero for zeroes; of an end frame: the chain of all frames' hashes before it. */
  readonly contentHash: bigint;
}

/** @returns preamble and document, and the stream's id */
export function encodeHeader(document: string): { bytes: Uint8Array; id: bigint } {
  const text = new TextEncoder().encode(document);
  const bytes = new Uint8Array(preambleBytes + text.length);
  const view = viewOf(bytes);
  bytes.set(magic);
  view.setUint32(8, formatVersion, true);
  view.setUint32(12, text.length, true);
  bytes.set(text, preambleBytes);
  const id = headerHash(bytes);
  view.setBigUint64(16, id, true);
  return { bytes, id };
}

/** @throws StorageError backup/format */
export function decodePreamble(bytes: Uint8Array): Preamble {
  const view = viewOf(bytes);
  expectMagic(bytes);
  const version = view.getUint32(8, true);
  if (version !== formatVersion) {
    const knows = `this varve reads version ${formatVersion}`;
    throw new StorageError('backup/format', `the stream has version ${version}, ${knows}`);
  }
  const documentBytes = view.getUint32(12, true);
  if (documentBytes > documentBytesMax) throw damaged('its header is too long');
  return { documentBytes, id: view.getBigUint64(16, true) };
}

/** @param bytes of the beginning, however few @throws StorageError backup/format */
export function expectMagic(bytes: Uint8Array): void {
  const begun = magic.subarray(0, bytes.length);
  if (begun.every((byte, at) => bytes[at] === byte)) return;
  throw new StorageError('backup/format', 'this is no backup stream');
}

/** Of preamble and document. */
export function headerHash(bytes: Uint8Array): bigint {
  return xxh64(concatBytes([bytes.subarray(0, 16), bytes.subarray(preambleBytes)]));
}

/** @param id of the stream */
export function encodeFrame(frame: Frame, id: bigint): { bytes: Uint8Array; hash: bigint } {
  const bytes = new Uint8Array(frameBytes);
  const view = viewOf(bytes);
  view.setUint32(0, kinds.indexOf(frame.kind) + 1, true);
  writeU64(view, 8, frame.sequence);
  writeU64(view, 16, frame.offset);
  writeU64(view, 24, frame.length);
  view.setBigUint64(32, frame.contentHash, true);
  const hash = frameHash(bytes, id);
  view.setBigUint64(40, hash, true);
  return { bytes, hash };
}

/** @param id of the stream @throws StorageError backup/damaged; FormatError a number that no stream of ours has */
export function decodeFrame(bytes: Uint8Array, id: bigint): Frame & { hash: bigint } {
  const view = viewOf(bytes);
  const hash = view.getBigUint64(40, true);
  if (hash !== frameHash(bytes, id)) throw damaged('a frame is damaged, or of another stream');
  const kind = kinds[view.getUint32(0, true) - 1];
  if (kind === undefined || view.getUint32(4, true) !== 0) {
    throw damaged('a frame is of an unknown kind');
  }
  return {
    kind,
    sequence: readU64(view, 8),
    offset: readU64(view, 16),
    length: readU64(view, 24),
    contentHash: view.getBigUint64(32, true),
    hash,
  };
}

/** The chain goes on: of everything before, and one more frame. */
export function chained(chain: bigint, hash: bigint): bigint {
  return xxh64(new Uint8Array(new BigUint64Array([chain, hash]).buffer));
}

function frameHash(bytes: Uint8Array, id: bigint): bigint {
  const hashed = bytes.slice();
  viewOf(hashed).setBigUint64(40, id, true);
  return xxh64(hashed);
}

export function damaged(what: string): StorageError {
  return new StorageError('backup/damaged', `the stream is damaged: ${what}`);
}
