/**
 * What a pool that is not open has on record, read from its disks without changing anything.
 *
 * As good as the disks are at rest: a pool that somebody serves meanwhile may show some of its past.
 */
import type { DataPlane } from '../dataplane/data-plane.ts';
import { type DiskLocation, DiskSet, openDisks, readerOf } from './disk-set.ts';
import { decodeBatch } from './format/batch.ts';
import { readCheckpoint } from './format/checkpoint-codec.ts';
import { parseIndexKey } from './format/index-keys.ts';
import { recordKind } from './format/journal-record.ts';
import type { Label } from './format/label.ts';
import { longestReplica, scanReplica } from './journal-replay.ts';
import { parseRecord } from './pool-state.ts';
import { chooseTruth } from './truth.ts';

type Records = Map<string, unknown>;

/** @throws StorageError as opening the pool; FormatError the checkpoint cannot be read */
export async function peekRecords(
  dataPlane: DataPlane,
  locations: readonly DiskLocation[],
): Promise<[name: string, value: unknown][]> {
  const opened = await openDisks(dataPlane, locations);
  try {
    const { label: truth, members } = chooseTruth(opened);
    const disks = new DiskSet(members);
    const records: Records = new Map();
    await addCheckpointed(records, disks, truth);
    await addJournaled(records, disks, truth);
    return [...records];
  } finally {
    for (const { plane } of opened) await plane.close();
  }
}

async function addCheckpointed(records: Records, disks: DiskSet, truth: Label): Promise<void> {
  const wanted = truth.checkpoint?.sequence;
  const disk = disks.journals.find(({ label }) => label.checkpoint?.sequence === wanted);
  if (wanted === undefined || disk === undefined) return;
  for await (const { key, value } of readCheckpoint(readerOf(disk), disk.label)) {
    put(records, key, value);
  }
}

async function addJournaled(records: Records, disks: DiskSet, truth: Label): Promise<void> {
  const from = { position: truth.tailPosition, sequence: truth.tailSequence };
  const { disk } = await longestReplica(disks, from);
  await scanReplica(disk, from, ({ kind, payload }) => {
    if (kind !== recordKind.batch) return;
    for (const op of decodeBatch(payload)) {
      if (op.op === 'put') put(records, op.key, op.value);
      if (op.op === 'delete') put(records, op.key, null);
    }
  });
}

function put(records: Records, key: Uint8Array, value: Uint8Array | null): void {
  const parsed = parseIndexKey(key);
  if (parsed.kind !== 'record') return;
  if (value === null) records.delete(parsed.name);
  else records.set(parsed.name, parseRecord(key, value));
}
