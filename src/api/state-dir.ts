/**
 * The state folder: its mode, its version, and the lock that keeps a second service out.
 *
 *   STATE/version   layout of this folder; another one is refused
 *   STATE/lock      who holds it: pid, start time of that process, boot
 *
 * Guarantees: at most one living process holds the folder. A holder that was killed is recognized by its start
 * time, so a process that got its pid later is not taken for it. What a lock file cannot exclude (two services that
 * both find the same dead holder, to the microsecond) the locks on the pool's disks and on the index do.
 */
import { chmod, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, StorageError } from '../base/errors.ts';

const stateVersion = '1';
const folderMode = 0o700;

interface Holder {
  readonly pid: number;
  /** Clock ticks after boot, from /proc/PID/stat: with the boot, it names one process. */
  readonly startTicks: string;
  readonly boot: string;
}

export class StateDir {
  private constructor(readonly path: string) {}

  /**
   * Makes the folder if absent and takes it.
   *
   * @throws StorageError service/state-held a living process holds it
   * @throws StorageError service/state-version another version wrote it
   * @throws StorageError service/config it cannot be made or written
   */
  static async take(path: string): Promise<StateDir> {
    await makeFolder(path);
    await takeLock(path);
    try {
      await checkVersion(path);
    } catch (error) {
      await rm(join(path, 'lock'), { force: true });
      throw error;
    }
    return new StateDir(path);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  async release(): Promise<void> {
    await rm(this.file('lock'), { force: true });
  }
}

/** The process that holds the folder now, if it lives. */
export async function livingHolder(path: string): Promise<number | undefined> {
  const text = await readFile(join(path, 'lock'), 'utf8').catch(() => undefined);
  const holder = text === undefined ? undefined : parseHolder(text);
  return holder !== undefined && (await isAlive(holder)) ? holder.pid : undefined;
}

/** For those who would start much before they take it. @throws StorageError service/state-held */
export async function expectFree(path: string): Promise<void> {
  const pid = await livingHolder(path);
  if (pid !== undefined) throw held(path, pid);
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: folderMode });
    await chmod(path, folderMode);
  } catch (cause) {
    const reason = messageOf(cause);
    throw new StorageError('service/config', `state folder ${path} cannot be used: ${reason}`, {
      cause,
      actions: ['name another with --state, or run as a user who may write there'],
    });
  }
}

async function checkVersion(path: string): Promise<void> {
  const file = join(path, 'version');
  const found = (await readFile(file, 'utf8').catch(() => undefined))?.trim();
  if (found === undefined) return await writeFile(file, `${stateVersion}\n`, { mode: 0o600 });
  if (found === stateVersion) return;
  throw new StorageError(
    'service/state-version',
    `state folder ${path} has version ${JSON.stringify(found)}, this program reads ${stateVersion}`,
    {
      actions: [
        'use the version of varve that wrote it',
        'or take the pools from their disks with a fresh state folder: varve pool import',
      ],
    },
  );
}

async function takeLock(path: string): Promise<void> {
  const lock = join(path, 'lock');
  const draft = `${lock}.${process.pid}`;
  const self = JSON.stringify(await selfHolder());
  await writeFile(draft, self, { mode: 0o600 });
  try {
    // A link appears whole or not at all: nobody reads a half-written lock.
    while (!(await tryLink(draft, lock))) await evictDead(path, lock);
  } finally {
    await rm(draft, { force: true });
  }
}

async function tryLink(draft: string, lock: string): Promise<boolean> {
  try {
    await link(draft, lock);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** @throws StorageError service/state-held the holder lives */
async function evictDead(path: string, lock: string): Promise<void> {
  const text = await readFile(lock, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const holder = parseHolder(text);
  if (holder !== undefined && (await isAlive(holder))) throw held(path, holder.pid);
  const aside = `${lock}.dead.${process.pid}`;
  await rename(lock, aside).catch(() => undefined);
  const moved = await readFile(aside, 'utf8').catch(() => undefined);
  // Somebody else evicted the dead one first and this is his lock: put it back.
  if (moved !== undefined && moved !== text) await tryLink(aside, lock);
  await rm(aside, { force: true });
}

function held(path: string, pid: number): StorageError {
  return new StorageError('service/state-held', `process ${pid} serves ${path} already`, {
    actions: ['stop that service first, or name another state folder with --state'],
  });
}

function parseHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<Holder> | null;
    if (typeof holder?.pid !== 'number') return undefined;
    return { pid: holder.pid, startTicks: String(holder.startTicks), boot: String(holder.boot) };
  } catch {
    return undefined;
  }
}

async function selfHolder(): Promise<Holder> {
  const startTicks = (await startTicksOf(process.pid)) ?? '';
  return { pid: process.pid, startTicks, boot: await bootId() };
}

async function isAlive(holder: Holder): Promise<boolean> {
  if (holder.boot !== (await bootId())) return false;
  return (await startTicksOf(holder.pid)) === holder.startTicks;
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** Field 22 of /proc/PID/stat; the command's name before it may hold spaces and parentheses. */
async function startTicksOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}
