/**
 * Reads a backup stream: nothing is given out that has not been verified, and the end only when all of it has come, once and in order.
 *
 * The bytes come from outside. Whatever they are, memory is bounded (one frame), and the error is one of three: cut off, damaged (also: repeated,
 * out of order, of another stream), of an unknown format.
 */
import { StorageError } from '../base/errors.ts';
import { FormatError } from '../pool/format/format-error.ts';
import { xxh64 } from '../pool/format/hash.ts';
import type { ByteSource } from './byte-source.ts';
import {
  damaged,
  dataBytesMax,
  decodeFrame,
  decodePreamble,
  expectMagic,
  type Frame,
  frameBytes,
  headerHash,
  preambleBytes,
} from './format.ts';
import { FrameSeries } from './frame-series.ts';
import { type BackupHeader, parseHeader } from './header.ts';
import type { Piece } from './piece.ts';

export class StreamReader {
  /** Of what has been given out. */
  readonly series: FrameSeries;
  /** Of the stream: what has been given out ends there. */
  position: number;
  readonly #source: ByteSource;

  private constructor(
    source: ByteSource,
    readonly header: BackupHeader,
    /** Preamble and document, as they came. */
    readonly headerBytes: Uint8Array,
    id: bigint,
  ) {
    this.#source = source;
    this.series = new FrameSeries(id);
    this.position = headerBytes.length;
  }

  /** @throws StorageError backup/format, backup/damaged, backup/cut, backup/io */
  static async open(source: ByteSource): Promise<StreamReader> {
    const preamble = await beginning(source);
    const { documentBytes, id } = decodePreamble(preamble);
    const bytes = Buffer.concat([preamble, await exactly(source, documentBytes)]);
    if (headerHash(bytes) !== id) throw damaged('its header does not match its checksum');
    const header = parseHeader(bytes.toString('utf8', preambleBytes));
    return new StreamReader(source, header, bytes, id);
  }

  /** @returns null at the end, when all of the stream is known to be whole @throws StorageError backup/damaged, backup/cut, backup/io */
  async next(): Promise<Piece | null> {
    const { hash, ...frame } = this.#decode(await exactly(this.#source, frameBytes));
    this.#expectNext(frame);
    if (frame.kind === 'end') return this.#end(frame);
    this.#expectInside(frame);
    const bytes = frame.kind === 'data' ? await this.#data(frame) : null;
    this.series.add(frame, hash);
    this.position += frameBytes + (bytes?.length ?? 0);
    return { offset: frame.offset, length: frame.length, bytes };
  }

  #decode(bytes: Uint8Array): ReturnType<typeof decodeFrame> {
    try {
      return decodeFrame(bytes, this.series.id);
    } catch (error) {
      if (error instanceof FormatError) throw damaged(error.message);
      throw error;
    }
  }

  #expectNext({ sequence }: Frame): void {
    const expected = this.series.sequence;
    if (sequence === expected) return;
    const how =
      sequence < expected ? 'repeated, or out of order' : 'something is missing before it';
    throw damaged(`frame ${sequence} comes where ${expected} is to be: ${how}`);
  }

  #expectInside({ kind, sequence, offset, length }: Frame): void {
    const isAscending = offset >= this.series.toBytes && length > 0;
    const isInside = offset + length <= this.header.snapshot.sizeBytes;
    const isShort = kind === 'zero' || length <= dataBytesMax;
    if (isAscending && isInside && isShort) return;
    throw damaged(`frame ${sequence} says ${length} bytes at ${offset}, which cannot be`);
  }

  async #data({ sequence, length, contentHash }: Frame): Promise<Uint8Array> {
    const bytes = await exactly(this.#source, length);
    if (xxh64(bytes) === contentHash) return bytes;
    throw damaged(`the data of frame ${sequence} does not match its checksum`);
  }

  async #end({ offset, length, contentHash }: Frame): Promise<null> {
    const { end } = this.series;
    if (offset !== end.offset || length !== end.length || contentHash !== end.contentHash) {
      throw damaged('its end tells of other frames than came');
    }
    if ((await this.#source.read(new Uint8Array(1))) > 0) {
      throw damaged('something comes behind its end');
    }
    return null;
  }
}

/** A pipe whose other end has failed brings nothing. @throws StorageError backup/cut, backup/format */
async function beginning(source: ByteSource): Promise<Buffer> {
  const bytes = Buffer.alloc(preambleBytes);
  const came = await source.read(bytes);
  if (came === preambleBytes) return bytes;
  expectMagic(bytes.subarray(0, came));
  const actions = ['look at what sends it, then repeat'];
  if (came === 0) throw new StorageError('backup/cut', 'nothing has come', { actions });
  throw cutOff();
}

/** @throws StorageError backup/cut */
async function exactly(source: ByteSource, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length);
  const came = await source.read(bytes);
  if (came === length) return bytes;
  throw cutOff();
}

function cutOff(): StorageError {
  return new StorageError('backup/cut', 'the stream ends before its end');
}
