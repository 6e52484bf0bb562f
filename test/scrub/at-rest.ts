/**
 * What goes wrong with bytes that lie on a disk: changed in the backing file, behind everybody's back.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { slotCluster, slotDisk } from '../../src/pool/format/slot.ts';
import type { Pool } from '../../src/pool/pool.ts';
import type { FoundSeal } from './seals.ts';

/** Flips one bit of a byte of the file. */
export function flipAt(path: string, offset: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset);
  byte.writeUInt8(byte.readUInt8(0) ^ 0x10, 0);
  writeSync(file, byte, 0, 1, offset);
  closeSync(file);
}

/** Flips one bit of a cluster's byte at `within`. @param path of the disk with that number */
export function flipIn(
  pool: Pool,
  { hi, lo }: FoundSeal,
  within: number,
  path: (disk: number) => string,
): void {
  flipAt(path(slotDisk(hi)), slotCluster(hi, lo) * pool.clusterBytes + within);
}
