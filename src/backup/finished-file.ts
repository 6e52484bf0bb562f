/**
 * What a file holds that is where a stream is to be written.
 *
 * Looked at are its beginning, its end and its length: a file gets its name only when it is whole. Whoever receives it verifies all of it.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { StorageError } from '../base/errors.ts';
import { FormatError } from '../pool/format/format-error.ts';
import { FileSource } from './byte-source.ts';
import { fileError } from './context.ts';
import { decodeFrame, encodeHeader, frameBytes } from './format.ts';
import type { BackupHeader } from './header.ts';
import type { StreamStart } from './stream-file.ts';
import { StreamReader } from './stream-reader.ts';

/** @returns undefined: the stream with that header, to its end; else what it is instead, in words @throws StorageError backup/io */
export async function otherThan(wanted: BackupHeader, path: string): Promise<string | undefined> {
  const start = encodeHeader(JSON.stringify(wanted));
  const file = await open(path, 'r').catch((error: unknown) => {
    throw fileError(path, error);
  });
  try {
    const there = await headerOf(file, path);
    if (there === undefined) return 'is no backup';
    const { header, bytes } = there;
    if (Buffer.compare(bytes, start.bytes) !== 0) return difference(header, wanted);
    return (await endsWhole(file, start)) ? undefined : 'lacks its end';
  } finally {
    await file.close();
  }
}

async function headerOf(
  file: FileHandle,
  path: string,
): Promise<{ header: BackupHeader; bytes: Uint8Array } | undefined> {
  try {
    const { header, headerBytes: bytes } = await StreamReader.open(new FileSource(file, path));
    return { header, bytes };
  } catch (error) {
    if (error instanceof StorageError && error.code !== 'backup/io') return undefined;
    throw error;
  }
}

/** An end frame tells how much comes before it. */
async function endsWhole(file: FileHandle, { bytes, id }: StreamStart): Promise<boolean> {
  const { size } = await file.stat();
  const end = new Uint8Array(frameBytes);
  const { bytesRead } = await file.read(end, 0, frameBytes, Math.max(0, size - frameBytes));
  if (bytesRead < frameBytes) return false;
  try {
    const { kind, sequence, offset: dataBytes } = decodeFrame(end, id);
    const frames = (sequence + 1) * frameBytes;
    return kind === 'end' && size === bytes.length + frames + dataBytes;
  } catch (error) {
    if (error instanceof StorageError || error instanceof FormatError) return false;
    throw error;
  }
}

function difference({ origin, snapshot, base }: BackupHeader, wanted: BackupHeader): string {
  const isSame = snapshot.uuid === wanted.snapshot.uuid && base?.uuid === wanted.base?.uuid;
  if (isSame) return 'has it with other names, labels, notes, or from another pool';
  const since = base === null ? '' : ` since ${base.name}`;
  return `holds ${origin.volume.name}@${snapshot.name}${since}, taken at ${snapshot.createdAt}`;
}
