/**
 * Which snapshots and bookmarks there are, by VOLUME@NAME.
 */
import { StorageError } from '../base/errors.ts';
import { compareText } from '../base/names.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { volumeById, volumeRecords } from '../volume/records.ts';
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
    return infos.sort((a, b) => compareText(a.volume, b.volume) || a.id - b.id);
  }

  /** @throws StorageError volume/not-found, snapshot/not-found */
  describe(volume: string, name: string): SnapshotInfo {
    const found = this.find(volume, name);
    return new Describer(found.pool).describe(found);
  }

  /** Of a pool, by id. @throws StorageError snapshot/not-found */
  byId(pool: string, id: number): FoundSnapshot {
    const found = this.#pools.get(pool);
    const record = snapshotById(found, id);
    const volume = record && volumeById(found, record.volume);
    if (record !== undefined && volume !== undefined) {
      return { pool: found, volume, kind: 'snapshot', record };
    }
    throw new StorageError('snapshot/not-found', `pool ${pool} has no snapshot with id ${id}`);
  }

  /** @throws StorageError snapshot/not-found */
  describeById(pool: string, id: number): SnapshotInfo {
    const found = this.byId(pool, id);
    return new Describer(found.pool).describe(found);
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

function describeAll(pool: Pool, only: number | undefined): SnapshotInfo[] {
  const describer = new Describer(pool);
  const volumes = new Map(volumeRecords(pool).map((volume) => [volume.id, volume]));
  const found = <R extends SnapshotRecord | BookmarkRecord>(record: R) => {
    const volume = volumes.get(record.volume);
    const isWanted = only === undefined || only === record.volume;
    return volume !== undefined && isWanted ? [{ pool, volume, record }] : [];
  };
  const snapshots = snapshotRecords(pool).flatMap(found);
  const bookmarks = bookmarkRecords(pool).flatMap(found);
  return [
    ...snapshots.map((each) => describer.describe({ ...each, kind: 'snapshot' })),
    ...bookmarks.map((each) => describer.describe({ ...each, kind: 'bookmark' })),
  ];
}

/** Describes one or many of a pool as its records are now: what hangs together is found out once for all. */
class Describer {
  readonly #pool: Pool;
  readonly #tree: LayerTree;
  readonly #clones: ReadonlyMap<number, readonly VolumeRecord[]>;

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#tree = LayerTree.of(pool);
    this.#clones = linkedClones(pool, this.#tree);
  }

  describe({ kind, volume, record }: Found): SnapshotInfo {
    const common = {
      id: record.id,
      volume: volume.name,
      name: record.name,
      pool: this.#pool.name,
      kind,
      sizeBytes: record.sizeBytes,
      createdAt: record.createdAt,
      parent: this.#parentOf(record),
    };
    if (kind === 'bookmark') return { ...common, ...nothingKept };
    return {
      ...common,
      consistency: record.consistency,
      note: record.note ?? null,
      labels: record.labels ?? {},
      group: record.group ?? null,
      origin: record.origin ?? null,
      hasAttachment: record.attachment !== undefined,
      clones: this.#clones.get(record.id)?.map(({ name }) => name) ?? [],
    };
  }

  /** The nearest snapshot of the same volume below it. */
  #parentOf({ layer, volume }: SnapshotRecord | BookmarkRecord): string | null {
    for (let at = this.#tree.parent(layer); at !== null; at = this.#tree.parent(at)) {
      for (const id of this.#tree.snapshotsOn(at)) {
        const snapshot = snapshotById(this.#pool, id);
        if (snapshot?.volume === volume) return snapshot.name;
      }
    }
    return null;
  }
}

/** Of a bookmark. */
const nothingKept = {
  consistency: 'crash',
  note: null,
  labels: {},
  group: null,
  origin: null,
  hasAttachment: false,
  clones: [],
} as const;
