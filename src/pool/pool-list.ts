/**
 * Which pools this host serves, and who this host is: `STATE/pools.json` and `STATE/host-id`.
 *
 * Only where the disks are is kept here, and their passwords (disk-secrets.ts); everything else is on them.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfThere, writeFileAtomically } from '../base/atomic-file.ts';
import { StorageError } from '../base/errors.ts';
import { isUuid, newUuid } from '../base/ids.ts';
import { Mutex } from '../base/mutex.ts';
import { readSecrets, withSecret, writeSecrets } from './disk-secrets.ts';
import { type DiskLocation, isDiskLocation } from './disk-set.ts';
import { PoolFolder } from './lineage.ts';

export interface PoolEntry {
  readonly uuid: string;
  readonly name: string;
  readonly disks: readonly DiskLocation[];
}

export class PoolList {
  readonly #stateDir: string;
  readonly hostId: string;
  readonly #turns = new Mutex();
  #entries: readonly PoolEntry[];

  private constructor(stateDir: string, hostId: string, entries: readonly PoolEntry[]) {
    this.#stateDir = stateDir;
    this.hostId = hostId;
    this.#entries = entries;
  }

  /** Reads the lists; a new state folder gets an identity. @throws StorageError service/state-version */
  static async open(stateDir: string): Promise<PoolList> {
    await mkdir(join(stateDir, 'pools'), { recursive: true, mode: 0o700 });
    return new PoolList(stateDir, await readHostId(stateDir), await readEntries(stateDir));
  }

  get entries(): readonly PoolEntry[] {
    return this.#entries;
  }

  /** What this host keeps of a pool; the folder exists afterwards. */
  async folderOf(uuid: string): Promise<PoolFolder> {
    const path = join(this.#stateDir, 'pools', uuid);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return new PoolFolder(path);
  }

  /** For what is kept of a pool while it is only read here; the folder exists afterwards. */
  async readOnlyFolderOf(uuid: string): Promise<PoolFolder> {
    const path = join(this.#stateDir, 'read-only', uuid);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return new PoolFolder(path);
  }

  /** Adds the pool, or replaces what was known of it. */
  put(entry: PoolEntry): Promise<void> {
    return this.#turns.run(() => this.#write([...this.#without(entry.uuid), entry]));
  }

  remove(uuid: string): Promise<void> {
    return this.#turns.run(() => this.#write(this.#without(uuid)));
  }

  #without(uuid: string): PoolEntry[] {
    return this.#entries.filter((entry) => entry.uuid !== uuid);
  }

  async #write(entries: readonly PoolEntry[]): Promise<void> {
    // First, so that a disk in the list never lacks its password. JSON leaves passwords out.
    await writeSecrets(
      secretsPath(this.#stateDir),
      entries.flatMap(({ disks }) => disks),
    );
    await writeFileAtomically(
      listPath(this.#stateDir),
      JSON.stringify({ pools: entries }, null, 2),
    );
    this.#entries = entries;
  }
}

function secretsPath(stateDir: string): string {
  return join(stateDir, 'disk-secrets.json');
}

function listPath(stateDir: string): string {
  return join(stateDir, 'pools.json');
}

async function readEntries(stateDir: string): Promise<PoolEntry[]> {
  const content = await readFileIfThere(listPath(stateDir));
  if (content === undefined) return [];
  const secrets = await readSecrets(secretsPath(stateDir));
  try {
    const { pools } = JSON.parse(content.toString('utf8')) as { pools: unknown[] };
    if (!pools.every(isPoolEntry)) throw new TypeError('an entry lacks uuid, name or disks');
    return pools.map((entry) => ({
      ...entry,
      disks: entry.disks.map((disk) => withSecret(disk, secrets)),
    }));
  } catch (cause) {
    throw new StorageError('service/state-version', `${listPath(stateDir)} cannot be read`, {
      cause,
      actions: ['remove the file, then import the pools from their disks'],
    });
  }
}

function isPoolEntry(value: unknown): value is PoolEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { uuid, name, disks } = value as Partial<PoolEntry>;
  // The uuid names a folder.
  const isNamed = typeof uuid === 'string' && isUuid(uuid) && typeof name === 'string';
  return isNamed && Array.isArray(disks) && disks.every(isDiskLocation);
}

async function readHostId(stateDir: string): Promise<string> {
  const path = join(stateDir, 'host-id');
  const known = (await readFileIfThere(path))?.toString('utf8').trim();
  if (known) return known;
  const made = newUuid();
  await writeFileAtomically(path, `${made}\n`);
  return made;
}
