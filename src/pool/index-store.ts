/**
 * The index on LevelDB: sorted binary keys, sealed values, atomic batches, snapshots.
 *
 * Only this file knows LevelDB. Everything here can be lost: whoever gets `pool/damaged` from it drops the folder
 * and rebuilds from the pool's disks. Nothing is synced for the same reason; a batch that the
 * machine forgets is replayed from the journal, because its applied sequence is forgotten with it.
 */
import { rm } from 'node:fs/promises';
import { Level } from 'level';
import { StorageError } from '../base/errors.ts';
import { openValue, sealValue } from './format/index-keys.ts';

export interface IndexEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A value of null deletes the key. */
export interface IndexChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

export interface IndexRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly limit?: number;
}

/** What the fold writes to; tests give one that fails. */
export interface IndexWriter {
  write(changes: readonly IndexChange[]): Promise<void>;
}

const entriesPerStep = 256;
/** Leaves come back in their own order and are cached natively: a modest cache serves the map reader. */
const cacheBytes = 16 * 1024 * 1024;

type Database = Level<Uint8Array, Uint8Array>;
type Snapshot = ReturnType<Database['snapshot']>;

export class IndexStore implements IndexWriter {
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Opens the index in a folder, created when absent.
   *
   * @throws StorageError pool/damaged LevelDB cannot read the folder
   */
  static async open(folder: string): Promise<IndexStore> {
    const db: Database = new Level<Uint8Array, Uint8Array>(folder, {
      keyEncoding: 'view',
      valueEncoding: 'view',
      cacheSize: cacheBytes,
    });
    try {
      await db.open();
    } catch (cause) {
      throw new StorageError('pool/damaged', `the index in ${folder} cannot be opened`, { cause });
    }
    return new IndexStore(db);
  }

  static async destroy(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }

  /** @throws StorageError pool/damaged */
  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const sealed = await this.#guard(() => this.#db.get(key));
    return sealed === undefined ? undefined : unseal(key, sealed);
  }

  /** Values in the order of the keys. @throws StorageError pool/damaged */
  async getMany(keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const sealed = await this.#guard(() => this.#db.getMany(keys));
    return sealed.map((value, at) =>
      value === undefined ? undefined : unseal(keys[at] as Uint8Array, value),
    );
  }

  /** All entries of a range at once: for ranges of known, small size. @throws StorageError pool/damaged */
  async range(range: IndexRange): Promise<IndexEntry[]> {
    const entries = await this.#guard(() => this.#db.iterator(range).all());
    return entries.map(([key, sealed]) => ({ key, value: unseal(key, sealed) }));
  }

  /** The keys of a range, in order. */
  async keys(range: IndexRange): Promise<Uint8Array[]> {
    return this.#guard(() => this.#db.keys(range).all());
  }

  /** The entries of a range, or of all, in order and in steps, as of the call. @throws StorageError pool/damaged */
  async *entries(range?: IndexRange): AsyncGenerator<IndexEntry> {
    yield* this.#walk(range ?? {});
  }

  /** A view of the whole index as it is now; `entries` may be walked while writing goes on. Close it. */
  snapshot(): IndexSnapshot {
    const snapshot = this.#db.snapshot();
    return {
      entries: () => this.#walk({ snapshot }),
      close: () => snapshot.close(),
    };
  }

  /** All changes or none. */
  async write(changes: readonly IndexChange[]): Promise<void> {
    await this.#db.batch(
      changes.map(({ key, value }) =>
        value === null
          ? { type: 'del' as const, key }
          : { type: 'put' as const, key, value: sealValue(key, value) },
      ),
    );
  }

  async close(): Promise<void> {
    await this.#db.close();
  }

  async *#walk(options: Partial<IndexRange> & { snapshot?: Snapshot }): AsyncGenerator<IndexEntry> {
    const iterator = this.#db.iterator(options);
    try {
      for (;;) {
        const step = await this.#guard(() => iterator.nextv(entriesPerStep));
        if (step.length === 0) return;
        for (const [key, sealed] of step) yield { key, value: unseal(key, sealed) };
      }
    } finally {
      await iterator.close();
    }
  }

  async #guard<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (cause) {
      throw new StorageError('pool/damaged', 'the index cannot be read', { cause });
    }
  }
}

export interface IndexSnapshot {
  entries(): AsyncGenerator<IndexEntry>;
  close(): Promise<void>;
}

function unseal(key: Uint8Array, sealed: Uint8Array): Uint8Array {
  try {
    return openValue(key, sealed);
  } catch (cause) {
    const name = Buffer.from(key).toString('hex');
    throw new StorageError('pool/damaged', `the index entry ${name} is damaged`, { cause });
  }
}
