/**
 * From the index to a PoolState: believed when it is this pool's and reaches into the journal, else built anew from the
 * checkpoint on the pool's disks.
 *
 * Loads records and bitmaps only, never leaves, so that it takes the same time at any capacity in use.
 */
import { invariant, StorageError } from '../base/errors.ts';
import { Allocator } from './allocator.ts';
import { type Chains, rememberedChains } from './checkpoint.ts';
import { type DiskSet, type PoolDisk, readerOf } from './disk-set.ts';
import { isForeign } from './foreign-disk.ts';
import { readCheckpoint, readCheckpointChain } from './format/checkpoint-codec.ts';
import { FormatError } from './format/format-error.ts';
import { checkpointReserveClusters } from './format/geometry.ts';
import { allocatorKey, parseIndexKey, recordKey } from './format/index-keys.ts';
import type { Label } from './format/label.ts';
import { type IndexChange, IndexStore } from './index-store.ts';
import type { PoolFolder } from './lineage.ts';
import { PoolIndex } from './pool-index.ts';
import {
  type Applied,
  appliedKey,
  encodeJson,
  foreignSpace,
  layerSpacePrefix,
  PoolState,
  parseRecord,
} from './pool-state.ts';

const entriesPerBatch = 2048;
const noIndex = 'there is no whole index';

type Loaded = Omit<LoadedIndex, 'rebuilt'>;

export interface LoadedIndex {
  readonly index: PoolIndex;
  readonly chains: Chains;
  /** Why the index had to be built from the disks; undefined when it was there. */
  readonly rebuilt: string | undefined;
}

/** @throws StorageError pool/damaged no replica of the checkpoint can be read; disk/io */
export async function loadOrRebuildIndex(
  folder: PoolFolder,
  disks: DiskSet,
  truth: Label,
): Promise<LoadedIndex> {
  const found = await tryLoad(folder, disks, truth);
  if (typeof found !== 'string') return { ...found, rebuilt: undefined };
  const store = await rebuild(folder, disks, truth);
  return { ...(await loadOrClose(store, disks, truth)), rebuilt: found };
}

/** The index that is there. @throws StorageError pool/damaged it is of no use for this pool */
export async function openAndLoad(
  folder: PoolFolder,
  disks: DiskSet,
  truth: Label,
): Promise<Loaded> {
  return loadOrClose(await IndexStore.open(folder.indexPath), disks, truth);
}

async function loadOrClose(store: IndexStore, disks: DiskSet, truth: Label): Promise<Loaded> {
  try {
    return await load(store, disks, truth);
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** @returns the reason when the index cannot be used */
async function tryLoad(folder: PoolFolder, disks: DiskSet, truth: Label): Promise<Loaded | string> {
  if (!folder.hasIndex) return noIndex;
  try {
    return await openAndLoad(folder, disks, truth);
  } catch (error) {
    if (error instanceof StorageError && error.code === 'pool/damaged') return error.message;
    throw error;
  }
}

async function readApplied(store: IndexStore): Promise<Applied | undefined> {
  const value = await store.get(appliedKey);
  return value === undefined ? undefined : (parseRecord(appliedKey, value) as Applied);
}

/** @throws StorageError pool/damaged the journal cannot lead on from there */
function expectUsable(applied: Applied | undefined, truth: Label): Applied {
  const unusable = (why: string) => new StorageError('pool/damaged', why);
  if (applied === undefined) throw unusable(noIndex);
  if (applied.poolUuid !== truth.poolUuid) throw unusable('the index is of another pool');
  const reaches =
    applied.sequence + 1 >= truth.tailSequence &&
    applied.position >= truth.tailPosition &&
    applied.position <= truth.tailPosition + truth.journalBytes;
  if (!reaches) throw unusable('the index is older than the journal');
  return applied;
}

async function load(store: IndexStore, disks: DiskSet, truth: Label): Promise<Loaded> {
  const applied = expectUsable(await readApplied(store), truth);
  const allocator = new Allocator(
    disks.all.map(({ label }) => ({
      number: label.diskNumber,
      firstCluster: label.firstCluster,
      clusterCount: label.clusterCount,
      journal: label.journalBytes > 0,
    })),
    (clusters) => checkpointReserveClusters(clusters, truth.clusterBytes),
  );
  const { records, layerClusters } = await loadRecords(store);
  for (const [name, record] of records) {
    if (name.startsWith('disk/') && isForeign(record)) allocator.addForeign(foreignSpace(record));
  }
  await loadBitmaps(store, allocator);
  const chains = await findChains(store, disks, truth);
  for (const [number, clusters] of chains) allocator.adoptCheckpoint(number, clusters);
  const state = new PoolState(allocator, { applied, records, layerClusters });
  return { index: new PoolIndex(store, state), chains };
}

async function loadBitmaps(store: IndexStore, allocator: Allocator): Promise<void> {
  const range = { gte: allocatorKey(0, 0), lt: allocatorKey(255, 0) };
  for await (const { key, value } of store.entries(range)) {
    const parsed = parseIndexKey(key);
    invariant(parsed.kind === 'allocator', 'the range holds bitmaps only');
    if (allocator.loadChunk(parsed.disk, parsed.chunk, value)) continue;
    throw new StorageError('pool/damaged', `the index has a bitmap beyond disk ${parsed.disk}`);
  }
}

async function loadRecords(store: IndexStore) {
  const records = new Map<string, unknown>();
  const layerClusters = new Map<number, number>();
  const all = { gte: recordKey('\u0000'), lt: Buffer.from('S', 'latin1') };
  for await (const { key, value } of store.entries(all)) {
    const parsed = parseIndexKey(key);
    invariant(parsed.kind === 'record', 'the range holds records only');
    const record = parseRecord(key, value);
    if (parsed.name.startsWith(layerSpacePrefix)) {
      const layer = Number(parsed.name.slice(layerSpacePrefix.length));
      layerClusters.set(layer, (record as { clusters: number }).clusters);
    } else {
      records.set(parsed.name, record);
    }
  }
  return { records, layerClusters };
}

async function findChains(store: IndexStore, disks: DiskSet, truth: Label): Promise<Chains> {
  if (truth.checkpoint === null) return new Map();
  const current = disks.journals.filter((disk) => disk.label.checkpoint !== null);
  const remembered = await rememberedChains(store, truth.checkpoint.sequence);
  const known = current.every((disk) => remembered?.has(disk.label.diskNumber));
  if (remembered !== undefined && known && remembered.size === current.length) return remembered;
  const chains = new Map<number, number[]>();
  for (const disk of current) chains.set(disk.label.diskNumber, await walkChain(disk));
  return chains;
}

/** A replica that cannot be read is no longer one: the next checkpoint writes it anew. */
async function walkChain(disk: PoolDisk): Promise<number[]> {
  try {
    return await readCheckpointChain(readerOf(disk), disk.label);
  } catch (error) {
    if (error instanceof FormatError) return [];
    throw error;
  }
}

/** Builds the index in an empty folder from the first replica of the checkpoint that is sound to its end. Close it. */
export async function rebuild(
  folder: PoolFolder,
  disks: DiskSet,
  truth: Label,
): Promise<IndexStore> {
  if (truth.tailSequence === 1) return rebuildFrom(folder, undefined, truth);
  const failures: unknown[] = [];
  for (const disk of disks.journals.filter(({ label }) => label.checkpoint !== null)) {
    try {
      return await rebuildFrom(folder, disk, truth);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      failures.push(error);
    }
  }
  throw new StorageError(
    'pool/damaged',
    `no replica of the checkpoint of pool ${truth.poolName} can be read`,
    { cause: failures[0] },
  );
}

async function rebuildFrom(
  folder: PoolFolder,
  disk: PoolDisk | undefined,
  truth: Label,
): Promise<IndexStore> {
  await folder.dropIndex();
  const store = await IndexStore.open(folder.indexPath);
  try {
    if (disk !== undefined) await copyCheckpoint(store, disk);
    const applied: Applied = {
      poolUuid: truth.poolUuid,
      epoch: 0,
      serial: 0,
      sequence: truth.tailSequence - 1,
      position: truth.tailPosition,
    };
    await store.write([{ key: appliedKey, value: encodeJson(applied) }]);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function copyCheckpoint(store: IndexStore, disk: PoolDisk): Promise<void> {
  let batch: IndexChange[] = [];
  for await (const entry of readCheckpoint(readerOf(disk), disk.label)) {
    batch.push(entry);
    if (batch.length < entriesPerBatch) continue;
    await store.write(batch);
    batch = [];
  }
  await store.write(batch);
}
