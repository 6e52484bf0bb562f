/**
 * Creating what is there already: whether snapshots of those names are what the command would make now.
 *
 * They are when no volume has changed since, and what is kept with them would be the same. Anything else is an error that says what differs:
 * whoever takes v@before-upgrade is never told that an older one, which the volume has left behind, will do.
 */
import { isDeepStrictEqual } from 'node:util';
import { StorageError } from '../base/errors.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import type { FoundSnapshot } from './catalog.ts';
import type { SnapshotContext } from './context.ts';
import { isUnchangedSince } from './diff.ts';
import { formatSnapshotName } from './names.ts';
import { snapshotRecords } from './records.ts';
import type { CreateSnapshotOptions, SnapshotName, SnapshotRecord } from './types.ts';

/**
 * To be run between other changes of structure.
 *
 * @param volumes those of the names, in their order
 * @returns the snapshots, when all are there and as they would be made now; undefined when none is there
 * @throws StorageError snapshot/exists some are there, or something else is
 * @throws StorageError pool/failed
 */
export async function findRepeated(
  { catalog }: SnapshotContext,
  volumes: readonly FoundVolume[],
  options: CreateSnapshotOptions,
): Promise<readonly SnapshotRecord[] | undefined> {
  const { names } = options;
  const known = names.map((name, at) => ({
    name,
    found: catalog.lookUp(volumes[at] as FoundVolume, name.snapshot),
  }));
  const there = known.flatMap(({ name, found }) => (found === undefined ? [] : [{ name, found }]));
  const [first] = there;
  if (first === undefined) return undefined;
  const missing = known.find(({ found }) => found === undefined);
  if (missing !== undefined) {
    const other = formatSnapshotName(missing.name);
    throw exists(first.name, `and ${other} does not: together they would be no one point in time`);
  }
  const snapshots: FoundSnapshot[] = [];
  for (const { name, found } of there) {
    if (found.kind === 'bookmark') throw exists(name, 'as a bookmark: its data was deleted');
    const difference = differenceOf(found, options);
    if (difference !== null) throw exists(name, difference);
    snapshots.push(found);
  }
  expectSameGroup(snapshots, first.name);
  for (const { name, found } of there) {
    const range = { volume: name.volume, from: name.snapshot };
    if (await isUnchangedSince(catalog, range)) continue;
    const since = `it was taken, at ${found.record.createdAt}`;
    throw exists(name, `and volume ${name.volume} has changed since ${since}`, [
      `varve snapshot diff ${formatSnapshotName(name)}   (what has changed)`,
    ]);
  }
  return snapshots.map(({ record }) => record);
}

/** What would be kept otherwise, as the end of a sentence; null when nothing would. */
function differenceOf(
  { volume, record }: FoundSnapshot,
  { note, labels = {}, attachment, quiesceSocket, origin }: CreateSnapshotOptions,
): string | null {
  if (record.sizeBytes !== volume.sizeBytes) return 'from before the volume was resized';
  if (record.note !== note) return 'with another note';
  if (!isDeepStrictEqual(record.labels ?? {}, labels)) return 'with other labels';
  if (record.attachment !== attachment) return 'with another attachment';
  if (quiesceSocket !== undefined && record.consistency !== 'quiesced')
    return 'and is not quiesced';
  if (record.origin === origin) return null;
  if (record.origin === 'schedule') return 'taken by a schedule: it will expire';
  if (record.origin === 'operation') return 'made for an operation, with which it goes';
  return record.origin === 'revert' ? 'kept by a revert' : 'and no schedule took it';
}

/** Those taken together are these and no others; one alone is of no group. */
function expectSameGroup(snapshots: readonly FoundSnapshot[], first: SnapshotName): void {
  const [{ pool, record }] = snapshots as [FoundSnapshot];
  const { group } = record;
  const isOne = snapshots.every((each) => each.record.group === group);
  const members = snapshotRecords(pool).filter((each) => each.group === group).length;
  const isWhole = group === undefined ? snapshots.length === 1 : members === snapshots.length;
  if (!isOne || !isWhole) throw exists(first, 'taken together with others than these');
}

function exists(name: SnapshotName, what: string, actions: readonly string[] = []): StorageError {
  const text = formatSnapshotName(name);
  return new StorageError('snapshot/exists', `snapshot ${text} exists, ${what}`, {
    actions: [
      'choose another name',
      ...actions,
      `varve snapshot delete ${text}   (then take it anew)`,
    ],
  });
}
