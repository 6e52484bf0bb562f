/** What a process had written to disks, from /proc: bytes of pages that it made dirty, each counted once until it is written back. */
import { readFileSync } from 'node:fs';

/** @see man 5 proc, io */
export function writtenBytes(pid: number): number {
  const [, bytes] = /^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8')) ?? [];
  return Number(bytes);
}
