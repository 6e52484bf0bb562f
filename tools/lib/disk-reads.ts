/** What a process really reads from disks, as the kernel counts it: what the page cache has costs nothing. */
import { readFileSync } from 'node:fs';
import { run } from './command.ts';

/** Bytes that the process had to fetch from disks since it began. */
export function bytesFromDisks(pid: number): number {
  const match = /^read_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'));
  if (match === null) throw new Error(`the kernel does not count what ${pid} reads`);
  return Number(match[1]);
}

/** Makes the page cache forget a file, so that what is read next comes from the disk. */
export async function forgetCached(path: string): Promise<void> {
  // Pages that are not written yet would stay.
  await run('sync', [path]);
  await run('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'of=/dev/null']);
}
