/**
 * Which volumes there are, by name, over all open pools.
 */
import { StorageError } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import { adoptedDiskOf } from './adopted-disk.ts';
import { chainOf } from './chain.ts';
import { uuidOf } from './identity.ts';
import { moveRecords } from './moves.ts';
import { volumeById, volumeRecords } from './records.ts';
import type { VolumeInfo, VolumeRecord } from './types.ts';

export interface FoundVolume {
  readonly pool: Pool;
  readonly record: VolumeRecord;
}

export class VolumeCatalog {
  readonly #pools: Pools;
  /** Ids of moves that are switching pools here and now: until they have, the volumes are where they were. */
  readonly switching = new Set<string>();
  #explainMissing: (name: string) => StorageError | undefined = () => undefined;

  constructor(pools: Pools) {
    this.#pools = pools;
  }

  /** `explain` says what a name is that no volume has, if it knows. */
  explainMissing(explain: (name: string) => StorageError | undefined): void {
    this.#explainMissing = explain;
  }

  list(): VolumeInfo[] {
    const all = this.#pools
      .all()
      .flatMap((pool) => this.#listed(pool).map((record) => ({ pool, record })));
    return all.map(describeVolume).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @returns undefined when the name is free @throws StorageError volume/busy its volume is between two pools */
  lookUp(name: string): FoundVolume | undefined {
    for (const pool of this.#pools.all()) {
      const record = this.#listed(pool).find((volume) => volume.name === name);
      if (record !== undefined) return { pool, record };
    }
    this.#expectNotBetweenPools(name);
    return undefined;
  }

  /** @throws StorageError volume/not-found; export/passthrough; request/invalid a snapshot's name */
  find(name: string): FoundVolume {
    if (name.includes('@')) {
      throw new StorageError('request/invalid', `"${name}" names a snapshot, not a volume`);
    }
    const found = this.lookUp(name);
    if (found !== undefined) return found;
    const explained = this.#explainMissing(name);
    if (explained !== undefined) throw explained;
    throw new StorageError('volume/not-found', `there is no volume ${name}`, {
      actions: ['varve volume list'],
    });
  }

  /** @throws StorageError volume/exists */
  expectFree(name: string): void {
    if (this.lookUp(name) === undefined) return;
    throw new StorageError('volume/exists', `volume ${name} exists`);
  }

  /** Those that are surely the pool's. */
  #listed(pool: Pool): VolumeRecord[] {
    const away = new Set(this.#switchingOf(pool).flatMap(({ switching }) => switching.volumes));
    return listedVolumes(pool).filter(({ id }) => !away.has(id));
  }

  #switchingOf(pool: Pool) {
    return moveRecords(pool).flatMap(({ id, target, switching }) =>
      switching === undefined || this.switching.has(id) ? [] : [{ target, switching }],
    );
  }

  /** Its move was cut off, and only the pool that is not open knows whether it has arrived there. @throws StorageError volume/busy */
  #expectNotBetweenPools(name: string): void {
    for (const pool of this.#pools.all()) {
      const found = this.#switchingOf(pool).find(({ switching }) => switching.names.includes(name));
      if (found === undefined) continue;
      throw new StorageError(
        'volume/busy',
        `volume ${name} was on its way from pool ${pool.name} to pool ${found.target.name} when that was cut off: only pool ${found.target.name} knows which of them has it, and it is not open`,
        { actions: ['varve pool import DISK-URI...', 'varve pool list'] },
      );
    }
  }

  /** The pool named, or the only one. @throws StorageError pool/not-found; request/invalid there are several */
  poolFor(name: string | undefined): Pool {
    if (name !== undefined) return this.#pools.get(name);
    const all = this.#pools.list();
    const [only] = all;
    if (only === undefined) {
      throw new StorageError('pool/not-found', 'there is no pool yet', {
        actions: ['varve pool create NAME DISK-URI'],
      });
    }
    if (all.length > 1) {
      const names = all.map((pool) => pool.name).join(', ');
      throw new StorageError('request/invalid', `which pool? There are ${names}`);
    }
    return this.#pools.get(only.name);
  }
}

export function describeVolume({ pool, record }: FoundVolume): VolumeInfo {
  const inherited = chainOf(pool, record.headLayer).slice(1);
  return {
    id: record.id,
    uuid: uuidOf(pool.uuid, record),
    name: record.name,
    pool: pool.name,
    sizeBytes: record.sizeBytes,
    exclusiveBytes: pool.clustersOf(record.headLayer) * pool.clusterBytes,
    sharedBytes:
      inherited.reduce((sum, layer) => sum + pool.clustersOf(layer), 0) * pool.clusterBytes,
    origin: originOf(pool, record, inherited),
    hasParent: inherited.length > 0,
    adoptedFrom: adoptedDiskOf(pool, inherited)?.record.uri ?? null,
    snapshotMode: record.snapshotMode,
    thick: record.thick,
    class: record.placement?.class ?? null,
    createdAt: record.createdAt,
  };
}

/** The snapshot that it was cloned from, while it reads through it. */
function originOf(pool: Pool, { clonedFrom }: VolumeRecord, chain: readonly number[]) {
  if (clonedFrom === undefined) return null;
  const snapshot = pool.record<{ volume: number; name: string; layer: number }>(
    `snapshot/${clonedFrom}`,
  );
  if (snapshot === undefined || !chain.includes(snapshot.layer)) return null;
  const volume = volumeById(pool, snapshot.volume);
  return volume === undefined ? null : `${volume.name}@${snapshot.name}`;
}

function listedVolumes(pool: Pool): VolumeRecord[] {
  return volumeRecords(pool).filter(({ scratch }) => scratch !== true);
}
