/** Streams in memory: what a writer makes of pieces, cut at its frames, and what a reader makes of bytes. */
import type { ByteSource } from '../../src/backup/byte-source.ts';
import { encodeHeader } from '../../src/backup/format.ts';
import { FrameSeries } from '../../src/backup/frame-series.ts';
import type { BackupHeader } from '../../src/backup/header.ts';
import type { Piece } from '../../src/backup/piece.ts';
import { StreamReader } from '../../src/backup/stream-reader.ts';
import { StreamWriter } from '../../src/backup/stream-writer.ts';
import { StorageError } from '../../src/base/errors.ts';

export function header(sizeBytes: number, name = 's'): BackupHeader {
  return {
    origin: {
      pool: { uuid: 'uuid-of-main', name: 'main' },
      volume: { uuid: 'uuid-of-v', name: 'v' },
    },
    snapshot: {
      uuid: `uuid-of-${name}`,
      name,
      sizeBytes,
      createdAt: '2026-01-01T00:00:00Z',
      consistency: 'crash',
      labels: { by: 'test' },
    },
    base: null,
  };
}

/** The header first; then each frame with its data; the end frame last. */
export function framesOf(of: BackupHeader, pieces: readonly Piece[]): Buffer[] {
  const { bytes, id } = encodeHeader(JSON.stringify(of));
  const writer = new StreamWriter(new FrameSeries(id));
  const written = [...pieces.flatMap((piece) => writer.add(piece)), ...writer.end()];
  const frames: Buffer[] = [Buffer.from(bytes)];
  for (const part of written) {
    const isData = part.length !== 48;
    if (isData) frames.push(Buffer.concat([frames.pop() as Buffer, part]));
    else frames.push(Buffer.from(part));
  }
  return frames;
}

/** Gives out `step` bytes at most at a time, as a pipe may. */
export function sourceOf(bytes: Uint8Array): ByteSource {
  let at = 0;
  return {
    async read(into) {
      const part = bytes.subarray(at, at + into.length);
      into.set(part);
      at += part.length;
      return part.length;
    },
  };
}

/** @throws StorageError what is wrong with the stream */
export async function read(bytes: Uint8Array): Promise<{ header: BackupHeader; pieces: Piece[] }> {
  const reader = await StreamReader.open(sourceOf(bytes));
  const pieces: Piece[] = [];
  for (let piece = await reader.next(); piece !== null; piece = await reader.next()) {
    pieces.push(piece);
  }
  return { header: reader.header, pieces };
}

/** The code of the error, or `accepted`. */
export async function verdict(bytes: Uint8Array): Promise<string> {
  try {
    await read(bytes);
    return 'accepted';
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  }
}
