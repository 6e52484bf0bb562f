/**
 * Compares a host's index with what its pool's disks say the index was at its applied sequence.
 */
import type { IndexEntry } from '../format/checkpoint-entry.ts';
import { isHostKey, parseIndexKey } from '../format/index-keys.ts';
import type { FindingLog } from './findings.ts';
import { countedLayer } from './records.ts';

/** A bitmap without a bit set may be stored or not, and counts of space follow the fold: both say nothing here. */
function isComparable({ key, value }: IndexEntry): boolean {
  if (isHostKey(key)) return false;
  const parsed = parseIndexKey(key);
  if (parsed.kind === 'allocator') return value.some((byte) => byte !== 0);
  return parsed.kind !== 'record' || countedLayer(parsed.name) === undefined;
}

async function* comparable(entries: AsyncIterable<IndexEntry>): AsyncGenerator<IndexEntry> {
  for await (const entry of entries) if (isComparable(entry)) yield entry;
}

function describe(key: Uint8Array): string {
  const parsed = parseIndexKey(key);
  if (parsed.kind === 'leaf') return `layer ${parsed.layer} leaf ${parsed.leaf}`;
  if (parsed.kind === 'allocator') return `disk ${parsed.disk} chunk ${parsed.chunk}`;
  return parsed.name;
}

/** Both in key order; every key that only one has, or that has two values, is a finding. */
export async function compareIndexes(
  index: AsyncIterable<IndexEntry>,
  disks: AsyncIterable<IndexEntry>,
  log: FindingLog,
): Promise<void> {
  const [ours, theirs] = [comparable(index), comparable(disks)];
  let [a, b] = [await ours.next(), await theirs.next()];
  while (!a.done || !b.done) {
    const order = a.done ? 1 : b.done ? -1 : Buffer.compare(a.value.key, b.value.key);
    const key = ((order <= 0 ? a : b).value as IndexEntry).key;
    if (order < 0)
      log.damage('index/extra', describe(key), 'is in the index, but not on the disks');
    if (order > 0)
      log.damage('index/missing', describe(key), 'is on the disks, but not in the index');
    if (order === 0 && Buffer.compare(a.value?.value, b.value?.value) !== 0) {
      log.damage('index/differs', describe(key), 'differs between index and disks');
    }
    if (order <= 0) a = await ours.next();
    if (order >= 0) b = await theirs.next();
  }
}
