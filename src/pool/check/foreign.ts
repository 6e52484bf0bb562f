/**
 * Foreign disks under check: they are known by their records alone, and are where they were when they were adopted, or not.
 */
import { stat } from 'node:fs/promises';
import type { DiskSpaceSpec } from '../disk-space.ts';
import { type ForeignDiskRecord, isForeign } from '../foreign-disk.ts';
import type { IndexEntry } from '../format/checkpoint-entry.ts';
import { parseIndexKey } from '../format/index-keys.ts';
import { foreignSpace } from '../pool-state.ts';
import type { FindingLog } from './findings.ts';

/** The clusters of a foreign disk, when the record is one's. */
export function foreignSpaceIn(name: string, value: Uint8Array): DiskSpaceSpec | undefined {
  const record = foreignRecordIn(name, value);
  return record === undefined ? undefined : foreignSpace(record);
}

/** Every foreign disk of an index. */
export async function foreignRecords(
  entries: AsyncIterable<IndexEntry>,
): Promise<ForeignDiskRecord[]> {
  const found: ForeignDiskRecord[] = [];
  for await (const { key, value } of entries) {
    const parsed = parseIndexKey(key);
    const record = parsed.kind === 'record' ? foreignRecordIn(parsed.name, value) : undefined;
    if (record !== undefined) found.push(record);
  }
  return found;
}

/** What is not there any more, or was changed, is read by nobody: volumes adopted from it fail there. */
export async function checkForeign(
  records: readonly ForeignDiskRecord[],
  log: FindingLog,
): Promise<void> {
  for (const record of records) {
    const problem = await foreignProblem(record);
    if (problem !== undefined) log.damage('disk/foreign', record.uri, problem);
  }
}

/** What keeps an adopted disk from being read; undefined: nothing that can be seen from outside. */
export async function foreignProblem({ foreign }: ForeignDiskRecord): Promise<string | undefined> {
  // Somewhere in the network.
  if (!foreign.path.startsWith('/')) return undefined;
  const stats = await stat(foreign.path, { bigint: true }).catch(() => undefined);
  if (stats === undefined) return 'an adopted disk is missing';
  if (foreign.modifiedNs === null) return undefined;
  // The size of an image is not its file's.
  const isSize = foreign.kind === 'image' || Number(stats.size) === foreign.sizeBytes;
  const same = isSize && String(stats.mtimeNs) === foreign.modifiedNs;
  return same ? undefined : 'an adopted disk was changed since';
}

function foreignRecordIn(name: string, value: Uint8Array): ForeignDiskRecord | undefined {
  if (!name.startsWith('disk/')) return undefined;
  try {
    const record: unknown = JSON.parse(Buffer.from(value).toString('utf8'));
    return isForeign(record) ? record : undefined;
  } catch {
    // That it is no JSON is reported where all records are looked at.
    return undefined;
  }
}
