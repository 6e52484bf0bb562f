/**
 * Where exports are remembered: those of volumes and snapshots as records `export/<name>` in the pool of their volume,
 * those of whole disks in a file of the state folder.
 *
 * The first kind travels with the pool: imported on another host, it serves the same exports. A disk that belongs to no pool is this host's; its
 * password is kept apart (disk-secrets.ts).
 * Of a pool that was imported to be read nothing is served unasked, and nothing is remembered.
 */
import { readFileIfThere, writeFileAtomically } from '../base/atomic-file.ts';
import { StorageError } from '../base/errors.ts';
import { readSecrets, withSecret, writeSecrets } from '../pool/disk-secrets.ts';
import { isDiskLocation } from '../pool/disk-set.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import { deleteRecord, putRecord } from '../pool/pool-records.ts';
import type { PoolInfo } from '../pool/types.ts';
import type { MoveRecord } from '../volume/moves.ts';
import { type DiskExportRecord, type ExportRecord, isPassthrough } from './types.ts';

const prefix = 'export/';

/** What a pool must offer to remember exports. */
export interface RecordPool {
  info(): PoolInfo;
  /** The records whose names begin so. */
  records<T>(prefix: `${string}/`): readonly T[];
  /** Durable when it resolves. */
  commit(operations: readonly BatchOp[]): Promise<number>;
}

/** Remembers some exports; a change is durable when it resolves. */
export interface ExportStore {
  /** The pool that holds what they serve; null for whole disks. */
  readonly pool: string | null;
  all(): readonly ExportRecord[];
  put(record: ExportRecord): Promise<void>;
  remove(name: string): Promise<void>;
}

export function storeOf(pool: RecordPool): ExportStore {
  const { name, readOnly } = pool.info();
  if (readOnly) return { pool: name, all: () => [], put: async () => {}, remove: async () => {} };
  return {
    pool: name,
    all: () => pool.records<ExportRecord>(prefix).filter((record) => !isAway(pool, record)),
    put: async (record) => {
      await pool.commit([putRecord(prefix + record.name, record)]);
    },
    remove: async (name) => {
      await pool.commit([deleteRecord(prefix + name)]);
    },
  };
}

export interface HostStorePaths {
  readonly exports: string;
  readonly secrets: string;
}

/** Its volume may be another pool's: that one has the export too then. */
function isAway(pool: RecordPool, record: ExportRecord): boolean {
  if (isPassthrough(record)) return false;
  const moves = pool.records<MoveRecord>('move/');
  return moves.some(({ switching }) => switching?.volumes.includes(record.volumeId));
}

/** The exports of whole disks. */
export class HostStore implements ExportStore {
  readonly pool = null;
  readonly #paths: HostStorePaths;
  #records: readonly DiskExportRecord[];

  private constructor(paths: HostStorePaths, records: readonly DiskExportRecord[]) {
    this.#paths = paths;
    this.#records = records;
  }

  /** @throws StorageError service/state-version a file cannot be read */
  static async open(paths: HostStorePaths): Promise<HostStore> {
    const content = await readFileIfThere(paths.exports);
    if (content === undefined) return new HostStore(paths, []);
    const secrets = await readSecrets(paths.secrets);
    const records = parse(paths.exports, content).map((record) => ({
      ...record,
      disk: withSecret(record.disk, secrets),
    }));
    return new HostStore(paths, records);
  }

  all(): readonly DiskExportRecord[] {
    return this.#records;
  }

  async put(record: ExportRecord): Promise<void> {
    await this.#write([...this.#without(record.name), record as DiskExportRecord]);
  }

  async remove(name: string): Promise<void> {
    await this.#write(this.#without(name));
  }

  #without(name: string): DiskExportRecord[] {
    return this.#records.filter((record) => record.name !== name);
  }

  async #write(records: readonly DiskExportRecord[]): Promise<void> {
    // First, so that a disk in the list never lacks its password. JSON leaves passwords out.
    await writeSecrets(
      this.#paths.secrets,
      records.map(({ disk }) => disk),
    );
    await writeFileAtomically(this.#paths.exports, JSON.stringify({ exports: records }, null, 2));
    this.#records = records;
  }
}

function isDiskExport(value: unknown): value is DiskExportRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { name, disk, listen } = value as Partial<DiskExportRecord>;
  const isNamed = typeof name === 'string' && isDiskLocation(disk);
  return isNamed && Array.isArray(listen) && listen.every((each) => typeof each === 'string');
}

function parse(path: string, content: Buffer): readonly DiskExportRecord[] {
  try {
    const { exports } = JSON.parse(content.toString('utf8')) as { exports: unknown[] };
    if (exports.every(isDiskExport)) return exports;
    throw new TypeError('a record lacks name, disk or addresses');
  } catch (cause) {
    throw new StorageError('service/state-version', `${path} cannot be read`, {
      cause,
      actions: ['remove the file, then pass the disks through again'],
    });
  }
}
