/** Resident memory of a process, from /proc. MiB. */
import { readFileSync, writeFileSync } from 'node:fs';

/** Now. */
export function residentMiB(pid: number): number {
  return statusMiB(pid, 'VmRSS');
}

/** The most since the process began, or since `forgetPeak`. */
export function peakMiB(pid: number): number {
  return statusMiB(pid, 'VmHWM');
}

/** @see man 5 proc, clear_refs */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function statusMiB(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const [, kib] = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status) ?? [];
  return Number(kib) / 1024;
}
