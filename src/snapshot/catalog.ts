/**
 * Which snapshots and bookmarks there are, by VOLUME@NAME.
 */
import { StorageError } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import type { VolumeRecord } from '../volume/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { linkedClones } from './linked-clones.ts';
import { bookmarkRecords, snapshotById, snapshotRecords } from './records.ts';
import type { BookmarkRecord, SnapshotInfo, SnapshotRecord } from './types.ts';

export type Found =
  | {
      readonly pool: Pool;
      readonly volume: VolumeRecord;
      readonly kind: 'snapshot';
      readonly record: SnapshotRecord;
    }
  | {
      readonly pool: Pool;
      readonly volume: VolumeRecord;
      readonly kind: 'bookmark';
      readonly record: BookmarkRecord;
    };

export type FoundSnapshot = Extract<Found, { kind: 'snapshot' }>;

export class SnapshotCatalog {
  readonly #pools: Pools;
  readonly #volumes: VolumeService;

  constructor(pools: Pools, volumes: VolumeService) {
    this.#pools = pools;
    this.#volumes = volumes;
  }

  /** By volume, then by age. @throws StorageError volume/not-found */
  list(volume?: string): SnapshotInfo[] {
    const only = volume === undefined ? undefined : this.#volumes.find(volume);
    const pools = only === undefined ? this.#pools.all() : [only.pool];
    const infos = pools.flatMap((pool) => describeAll(pool, only?.record.id));
    return infos.sort((a, b) => compare(a.volume, b.volume) || a.id - b.id);
  }

  /** @throws StorageError volume/not-found, snapshot/not-found */
  describe(volume: string, name: string): SnapshotInfo {
    const { pool, record } = this.find(volume, name);
    return describeAll(pool, record.volume).find(({ id }) => id === record.id) as SnapshotInfo;
  }

  /** Of a pool, by id. @throws StorageError snapshot/not-found */
  byId(pool: string, id: number): FoundSnapshot {
    const found = this.#pools.get(pool);
    const record = snapshotById(found, id);
    const volume = record && found.record<VolumeRecord>(`volume/${record.volume}`);
    if (record !== undefined && volume !== undefined) {
      return { pool: found, volume, kind: 'snapshot', record };
    }
    throw new StorageError('snapshot/not-found', `pool ${pool} has no snapshot with id ${id}`);
  }

  /** @throws StorageError snapshot/not-found */
  describeById(pool: string, id: number): SnapshotInfo {
    const { volume, record } = this.byId(pool, id);
    return this.describe(volume.name, record.name);
  }

  /** A snapshot or a bookmark; undefined when there is none. */
  lookUp({ pool, record: volume }: FoundVolume, name: string): Found | undefined {
    const isIt = (record: SnapshotRecord | BookmarkRecord) =>
      record.volume === volume.id && record.name === name;
    const snapshot = snapshotRecords(pool).find(isIt);
    if (snapshot !== undefined) return { pool, volume, kind: 'snapshot', record: snapshot };
    const bookmark = bookmarkRecords(pool).find(isIt);
    return bookmark && { pool, volume, kind: 'bookmark', record: bookmark };
  }

  /** A snapshot or a bookmark. @throws StorageError volume/not-found, snapshot/not-found */
  find(volume: string, name: string): Found {
    const found = this.lookUp(this.#volumes.find(volume), name);
    if (found !== undefined) return found;
    throw new StorageError('snapshot/not-found', `there is no snapshot ${volume}@${name}`, {
      actions: [`varve snapshot list ${volume}`],
    });
  }

  /** One that has its data. @throws StorageError volume/not-found, snapshot/not-found */
  findSnapshot(volume: string, name: string): FoundSnapshot {
    const found = this.find(volume, name);
    if (found.kind === 'snapshot') return found;
    throw new StorageError(
      'snapshot/not-found',
      `${volume}@${name} is a bookmark: its data was deleted, only changes since can be told`,
      { actions: [`varve snapshot list ${volume}`] },
    );
  }

  /** What was stored with it. @throws StorageError volume/not-found, snapshot/not-found; it has none */
  attachment(volume: string, name: string): string {
    const { attachment } = this.findSnapshot(volume, name).record;
    if (attachment !== undefined) return attachment;
    throw new StorageError('snapshot/not-found', `${volume}@${name} has no attachment`);
  }

  /** @throws StorageError snapshot/exists */
  expectFree(volume: FoundVolume, name: string): void {
    if (this.lookUp(volume, name) === undefined) return;
    throw new StorageError('snapshot/exists', `snapshot ${volume.record.name}@${name} exists`);
  }
}

function describeAll(pool: Pool, volume: number | undefined): SnapshotInfo[] {
  const tree = LayerTree.of(pool);
  const mine = <T extends { volume: number }>(records: readonly T[]) =>
    volume === undefined ? records : records.filter((record) => record.volume === volume);
  const snapshots = mine(snapshotRecords(pool));
  const names = new Map(pool.records<VolumeRecord>('volume/').map(({ id, name }) => [id, name]));
  const byLayer = new Map(snapshots.map((record) => [`${record.volume}/${record.layer}`, record]));
  const clones = linkedClones(pool, tree);
  const common = (record: SnapshotRecord | BookmarkRecord) => ({
    id: record.id,
    volume: names.get(record.volume) ?? '',
    name: record.name,
    pool: pool.name,
    sizeBytes: record.sizeBytes,
    createdAt: record.createdAt,
    parent: parentOf(tree, byLayer, record),
  });
  return [
    ...snapshots.map(
      (record): SnapshotInfo => ({
        ...common(record),
        kind: 'snapshot',
        consistency: record.consistency,
        note: record.note ?? null,
        labels: record.labels ?? {},
        group: record.group ?? null,
        origin: record.origin ?? null,
        hasAttachment: record.attachment !== undefined,
        clones: clones.get(record.id)?.map(({ name }) => name) ?? [],
      }),
    ),
    ...mine(bookmarkRecords(pool)).map(
      (record): SnapshotInfo => ({
        ...common(record),
        kind: 'bookmark',
        consistency: 'crash',
        note: null,
        labels: {},
        group: null,
        origin: null,
        hasAttachment: false,
        clones: [],
      }),
    ),
  ];
}

/** The nearest snapshot of the same volume below it. */
function parentOf(
  tree: LayerTree,
  byLayer: ReadonlyMap<string, SnapshotRecord>,
  { layer, volume }: SnapshotRecord | BookmarkRecord,
): string | null {
  for (let at = tree.parent(layer); at !== null; at = tree.parent(at)) {
    const found = byLayer.get(`${volume}/${at}`);
    if (found !== undefined) return found.name;
  }
  return null;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
