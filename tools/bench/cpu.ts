/** CPU time of a process, from /proc. */
import { readFileSync } from 'node:fs';

// USER_HZ: 100 on every Linux architecture that Debian carries.
const ticksPerSecond = 100;

/** User and system seconds of a process so far, with all its threads, those that ended included. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command's name may contain blanks and parentheses; what follows the last one is regular.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
