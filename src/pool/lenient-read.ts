/**
 * Reads from disks that may fail in places: what can be had is had, page by page.
 */
import { isDiskIo } from '../base/errors.ts';
import type { ReadDisk } from './format/ring.ts';

const pageBytes = 4096;

/** A part of what was asked for; `bytes` are missing where the operating system cannot read. */
export interface ReadPart {
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | undefined;
}

/**
 * Reads a range in as few pieces as work.
 *
 * @returns parts in order; behind the end of the disk there is none
 */
export async function readParts(
  read: ReadDisk,
  offset: number,
  length: number,
): Promise<ReadPart[]> {
  const whole = await readOrFail(read, offset, length);
  if (whole !== undefined) return [{ offset, length: whole.length, bytes: whole }];
  if (length <= pageBytes) return [{ offset, length, bytes: undefined }];
  const parts: ReadPart[] = [];
  for (let at = offset; at < offset + length; at += pageBytes) {
    parts.push(...(await readParts(read, at, Math.min(pageBytes, offset + length - at))));
  }
  return parts;
}

async function readOrFail(
  read: ReadDisk,
  offset: number,
  length: number,
): Promise<Uint8Array | undefined> {
  try {
    return await read(offset, length);
  } catch (error) {
    if (isDiskIo(error)) return undefined;
    throw error;
  }
}

/** Zeroes stand for what cannot be read, and for what lies behind the end: no checksum holds there. */
export function lenient(read: ReadDisk): ReadDisk {
  return async (offset, length) => {
    const parts = await readParts(read, offset, length);
    // As a rule, and openings read much: no copy is made.
    if (parts[0]?.bytes?.length === length) return parts[0].bytes;
    const bytes = new Uint8Array(length);
    for (const part of parts) {
      if (part.bytes !== undefined) bytes.set(part.bytes, part.offset - offset);
    }
    return bytes;
  };
}
