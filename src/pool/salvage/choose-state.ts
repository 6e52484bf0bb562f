/**
 * Which state of the pool is shown: the newest that can be put together.
 *
 *   1  the newest checkpoint, whole, and the journal behind it
 *   2  an older one that is still on the disks, and an unbroken journal up to the same end: nothing is lost either
 *   3  the newest one with gaps, as long as it still says which volumes there are
 *   4  an older one, and as much of the journal as follows it
 *
 * Only what is behind 1 and 2 is said to be lost; what 3 lacks shows where it is missing, in volumes.
 */

import type { FindingLog } from '../check/findings.ts';
import { FormatError } from '../format/format-error.ts';
import type { JournalPlace } from '../format/journal-record.ts';
import { lenient } from '../lenient-read.ts';
import { Generation } from '../overlay.ts';
import {
  findRecord,
  type MergedEnd,
  mergedRecords,
  type RingReplica,
  recordBehind,
} from '../ring-replicas.ts';
import { type ChainPlaces, joinReplicas } from './chain-walk.ts';
import { applyRecord, TakenClusters } from './changes.ts';
import { entriesOf, knownKey } from './entries.ts';
import type { GatheredPool } from './gather.ts';
import { type OlderCheckpoint, olderCheckpoints } from './older-checkpoint.ts';
import type { LostChanges } from './types.ts';

export interface ChosenState {
  readonly blocks: ChainPlaces;
  /** What the journal changes behind the checkpoint. */
  readonly changes: Generation;
  readonly taken: TakenClusters;
  readonly lostChanges: readonly LostChanges[];
}

export async function chooseState(pool: GatheredPool, log: FindingLog): Promise<ChosenState> {
  const { tailPosition: position, tailSequence: sequence } = pool.truth;
  const tail = { position, sequence };
  const replicas = [...pool.disks.values()]
    .filter(({ label }) => label.journalBytes > 0)
    .map((disk) => ({ ...disk, read: lenient(disk.read) }));
  const newest = await newestCheckpoint(pool, log);
  if (newest !== undefined && !newest.includes(undefined)) {
    return withJournal(newest, replicas, tail, log);
  }
  const older = await olderCheckpoints(pool.disks.values(), sequence);
  const unbroken = await firstUnbroken(older, replicas, tail);
  if (unbroken !== undefined) {
    log.warning('checkpoint/older', 'pool', `read from the one of record ${unbroken.sequence}`);
    return withJournal(unbroken.blocks, replicas, unbroken.from, log);
  }
  if (newest !== undefined && (await namesVolumes(newest))) {
    return withJournal(newest, replicas, tail, log);
  }
  return outdated(older[0], replicas, tail, log);
}

/** @returns undefined when it is nowhere at all */
async function newestCheckpoint(
  { truth, disks }: GatheredPool,
  log: FindingLog,
): Promise<ChainPlaces | undefined> {
  if (truth.tailSequence === 1) return [];
  const wanted = truth.tailSequence - 1;
  const replicas = [...disks.values()].flatMap((disk) => {
    const { checkpoint } = disk.label;
    return checkpoint?.sequence === wanted ? [{ disk, checkpoint }] : [];
  });
  if (replicas.length === 0) {
    log.damage(
      'checkpoint/damaged',
      'pool',
      `no disk given has the checkpoint of record ${wanted}`,
    );
    return undefined;
  }
  const blocks = await joinReplicas(replicas);
  const lost = blocks.filter((place) => place === undefined).length;
  if (lost > 0) {
    const message = `${lost} of the ${blocks.length} clusters of the checkpoint of record ${wanted} can be read from no replica`;
    log.damage('checkpoint/damaged', 'pool', message);
  }
  return lost === blocks.length ? undefined : blocks;
}

type Continued = OlderCheckpoint & { readonly from: JournalPlace };

/** The newest from which the journal leads up to the tail. */
async function firstUnbroken(
  older: readonly OlderCheckpoint[],
  replicas: readonly RingReplica[],
  tail: JournalPlace,
): Promise<Continued | undefined> {
  for (const checkpoint of older) {
    const from = await placeBehind(checkpoint, replicas, tail);
    if (from === undefined) continue;
    let end = 0;
    for await (const { sequence } of mergedRecords(replicas, from)) end = sequence + 1;
    if (Math.max(end, from.sequence) >= tail.sequence) return { ...checkpoint, from };
  }
  return undefined;
}

async function placeBehind(
  { sequence }: OlderCheckpoint,
  replicas: readonly RingReplica[],
  tail: JournalPlace,
): Promise<JournalPlace | undefined> {
  const next = sequence + 1;
  return next === tail.sequence ? tail : findRecord(replicas, next);
}

async function namesVolumes(blocks: ChainPlaces): Promise<boolean> {
  for await (const entry of entriesOf(blocks)) {
    if (!('key' in entry)) continue;
    const key = knownKey(entry.key);
    if (key?.kind === 'record' && key.name.startsWith('volume/')) return true;
  }
  return false;
}

async function withJournal(
  blocks: ChainPlaces,
  replicas: readonly RingReplica[],
  from: JournalPlace,
  log: FindingLog,
): Promise<ChosenState> {
  const changes = new Generation();
  const taken = new TakenClusters();
  if (replicas.length === 0) {
    const message = 'no disk given carries the journal: what was changed since the checkpoint';
    return { blocks, changes, taken, lostChanges: [{ first: from.sequence, last: null, message }] };
  }
  let end: MergedEnd = { ...from, epoch: 0 };
  const applied = mergedRecords(replicas, from, (found) => {
    end = found;
  });
  for await (const record of applied)
    refuse(log, record.sequence, () => applyRecord(record, changes));
  const behind = await recordBehind(replicas, end);
  if (behind === undefined) return { blocks, changes, taken, lostChanges: [] };
  let last = behind.sequence;
  for await (const record of mergedRecords(replicas, behind)) {
    refuse(log, record.sequence, () => taken.add(record));
    last = record.sequence;
  }
  const message = `records ${end.sequence} to ${behind.sequence - 1} of the journal can be read from no replica; what is behind them cannot be applied without them`;
  log.damage('journal/damaged', 'pool', message);
  return { blocks, changes, taken, lostChanges: [{ first: end.sequence, last, message }] };
}

/** What a whole record says is taken as far as it makes sense. */
function refuse(log: FindingLog, sequence: number, apply: () => void): void {
  try {
    apply();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    log.damage('journal/record', `journal record ${sequence}`, error.message);
  }
}

/** An older state: newer maps may have given its clusters to others, which is not known of all of them. */
async function outdated(
  older: OlderCheckpoint | undefined,
  replicas: readonly RingReplica[],
  tail: JournalPlace,
  log: FindingLog,
): Promise<ChosenState> {
  const from = older && (await placeBehind(older, replicas, tail));
  const first = (older?.sequence ?? 0) + 1;
  const message =
    older === undefined
      ? 'no checkpoint can be read, and the journal says only what was changed since the last one'
      : `the state is that of record ${older.sequence} at the earliest; what was changed since may be missing, and may lie where older content was`;
  log.damage('checkpoint/outdated', 'pool', message);
  const lost = { first, last: null, message };
  if (older !== undefined && from === undefined) {
    const taken = new TakenClusters();
    for await (const record of mergedRecords(replicas, tail)) {
      refuse(log, record.sequence, () => taken.add(record));
    }
    return { blocks: older.blocks, changes: new Generation(), taken, lostChanges: [lost] };
  }
  const state = await withJournal(older?.blocks ?? [undefined], replicas, from ?? tail, log);
  return { ...state, lostChanges: [lost, ...state.lostChanges] };
}
