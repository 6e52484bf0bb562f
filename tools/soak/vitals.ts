/** What a process holds, sampled from /proc; a process that is gone gives no sample. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Sample } from './verdict.ts';

/** Tables of the index are kept open by LevelDB up to a bound of its own, more with the first hours. */
const indexTable = /\.ldb$/;

export function vitalsOf(pid: number, seconds: number): Sample | undefined {
  try {
    return { seconds, pid, residentBytes: residentBytes(pid), descriptors: descriptors(pid) };
  } catch {
    // It was killed between two of these readings.
    return undefined;
  }
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

function descriptors(pid: number): number {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).filter((number) => !indexTable.test(target(`${folder}/${number}`)))
    .length;
}

/** Empty for one that was closed meanwhile. */
function target(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
