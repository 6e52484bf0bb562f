/**
 * A slot's state as two 32-bit words, so that no bigint is made per slot.
 *
 *   hi: disk (31–24) | cluster bits 39–16 (23–0)      lo: cluster bits 15–0 (31–16) | mask (15–0)
 *
 * See docs/format.md section 3 for what each combination means.
 */
import { invariant } from '../../base/errors.ts';

export const clusterLimit = 2 ** 40;
/** Disk numbers are 0 to 254. */
export const diskLimit = 255;

export function slotDisk(hi: number): number {
  return hi >>> 24;
}

export function slotCluster(hi: number, lo: number): number {
  return (hi & 0xffffff) * 0x10000 + (lo >>> 16);
}

export function slotMask(lo: number): number {
  return lo & 0xffff;
}

/** Whether the state names a cluster. Address 0 is no place: cluster 0 lies under the label of every disk. */
export function slotHasAddress(hi: number, lo: number): boolean {
  return hi !== 0 || lo >>> 16 !== 0;
}

/** @returns `[hi, lo]`, both as unsigned 32-bit numbers */
export function makeSlot(disk: number, cluster: number, mask: number): [hi: number, lo: number] {
  invariant(disk >= 0 && disk < diskLimit, 'disk numbers are 0 to 254');
  invariant(cluster >= 0 && cluster < clusterLimit, 'cluster numbers have 40 bits');
  invariant(mask >= 0 && mask <= 0xffff, 'a mask has sixteen bits');
  const hi = ((disk << 24) | Math.floor(cluster / 0x10000)) >>> 0;
  const lo = (((cluster % 0x10000) << 16) | mask) >>> 0;
  return [hi, lo];
}
