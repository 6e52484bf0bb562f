/**
 * Where a plain disk may hold something other than zeroes.
 */
import type { ByteRun, DiskPlane } from '../dataplane/data-plane.ts';

/** Runs in a range of the disk, in order. A disk that cannot tell says all of it. */
export async function dataIn(
  disk: Pick<DiskPlane, 'findData'>,
  { offset, length }: ByteRun,
): Promise<ByteRun[]> {
  const runs: ByteRun[] = [];
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const found = await disk.findData(at, end - at);
    runs.push(...found.runs);
    at += found.searchedBytes;
  }
  return runs;
}
