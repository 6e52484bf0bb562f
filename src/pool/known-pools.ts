/**
 * KnownPools: pools that this host remembers and does not serve; each is opened as soon as that can be done.
 *
 *   remembered ──opened──▶ served, and none of these any more
 *        └──refused, or late──▶ listed with the reason ──┐
 *                                        ▲               │ every 5 s, while the reason may pass
 *                                        └───────────────┘
 *
 * A start of the service waits for none of them longer than 20 s: one with a disk that hangs, or an index that is to be built anew, is opened
 * beside the guests of the others.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { type ErrorCode, messageOf, StorageError } from '../base/errors.ts';
import { isHeldByProcess } from './disk-set.ts';
import type { PoolEntry } from './pool-list.ts';
import type { UnopenedPool } from './unopened-pool.ts';

/** Longer than an index takes to be built anew at any usual size. */
const startPatienceMs = 20_000;
const retryMs = 5_000;
/** One more attempt holds up no command for longer; it goes on beside them. */
const retryPatienceMs = 1_000;
/** A service manager kills what does not stop. */
const closingPatienceMs = 5_000;

/** A disk that is gone comes back, a server that does not answer is mended: nobody need say so. */
const passing: readonly ErrorCode[] = ['disk/io', 'disk/unusable', 'pool/disk-missing'];

export interface KnownPoolsParts {
  readonly clock: Clock;
  /** Opens and serves the pool. @throws whatever keeps it from being opened */
  readonly open: (entry: PoolEntry, how: { readonly isRetry: boolean }) => Promise<void>;
  /** Some pool of that name is. */
  readonly isServed: (name: string) => boolean;
  /** Runs what must not meet a change of the same pool. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  /** Told of the first reason, and of one that does not pass. */
  readonly onRefused: (entry: PoolEntry, error: StorageError) => void;
  /** It is served now, though not since the service's start. */
  readonly onReturned: (entry: PoolEntry) => void;
}

export class KnownPools {
  readonly #parts: KnownPoolsParts;
  /** By uuid, as all here: two may have one name. */
  readonly #unopened = new Map<string, UnopenedPool>();
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #stopTrying: () => void;
  #isStarting = true;
  #isWaitingForTurn = false;

  constructor(parts: KnownPoolsParts) {
    this.#parts = parts;
    this.#stopTrying = parts.clock.every(retryMs, () => void this.#tryAgain());
  }

  /** Resolves when each is open or refused, or late. */
  async open(entries: readonly PoolEntry[]): Promise<void> {
    await within(startPatienceMs, Promise.all(entries.map((entry) => this.#open(entry))));
    this.#isStarting = false;
  }

  get all(): readonly UnopenedPool[] {
    return [...this.#unopened.values()];
  }

  byName(name: string): UnopenedPool | undefined {
    return this.all.find(({ entry }) => entry.name === name);
  }

  /** False: it was forgotten, or nothing is opened any more. */
  isWanted({ uuid }: PoolEntry): boolean {
    return this.#unopened.has(uuid);
  }

  /** It was served, is remembered still, and was closed for that reason. */
  keep(entry: PoolEntry, error: StorageError): void {
    const told = mayPass(error) ? hopeful(entry.name, error) : error;
    this.#unopened.set(entry.uuid, { entry, error: told });
  }

  /** It is served otherwise, or not to be served. An opening under way ends before it writes anything. */
  forget(uuid: string): void {
    this.#unopened.delete(uuid);
  }

  /** @throws StorageError pool/opening one of these disks is in the hands of an opening */
  expectIdle(paths: readonly string[]): void {
    const opening = this.all.find(
      ({ entry }) =>
        this.#underWay.has(entry.uuid) && entry.disks.some(({ path }) => paths.includes(path)),
    );
    if (opening !== undefined) throw beingOpened(opening.entry.name);
  }

  /** Nothing is opened any more when it resolves, but for what a disk that hangs holds up. */
  async close(): Promise<void> {
    this.#stopTrying();
    this.#unopened.clear();
    await within(closingPatienceMs, Promise.all(this.#underWay.values()));
  }

  async #tryAgain(): Promise<void> {
    if (this.#isWaitingForTurn || this.#due.length === 0) return;
    this.#isWaitingForTurn = true;
    const openDue = () => Promise.all(this.#due.map((entry) => this.#open(entry)));
    await this.#parts.inTurn(() => within(retryPatienceMs, openDue()));
    this.#isWaitingForTurn = false;
  }

  get #due(): readonly PoolEntry[] {
    return this.all
      .filter(({ entry, error }) => error !== null && mayPass(error) && this.#isFree(entry))
      .map(({ entry }) => entry);
  }

  #isFree({ uuid, name }: PoolEntry): boolean {
    return !this.#underWay.has(uuid) && !this.#parts.isServed(name);
  }

  #open(entry: PoolEntry): Promise<void> {
    const attempt = this.#attempt(entry).finally(() => this.#underWay.delete(entry.uuid));
    this.#underWay.set(entry.uuid, attempt);
    return attempt;
  }

  /** Never throws. */
  async #attempt(entry: PoolEntry): Promise<void> {
    const { open, onRefused, onReturned } = this.#parts;
    const { uuid, name } = entry;
    const isRetry = this.isWanted(entry);
    if (!isRetry) this.keep(entry, beingOpened(name));
    try {
      await open(entry, { isRetry });
      this.forget(uuid);
      if (isRetry || !this.#isStarting) onReturned(entry);
    } catch (cause) {
      if (!this.isWanted(entry)) return;
      const error = cause instanceof StorageError ? cause : broken(name, cause);
      this.keep(entry, error);
      if (!isRetry || !mayPass(error)) onRefused(entry, error);
    }
  }
}

function mayPass(error: StorageError): boolean {
  return passing.includes(error.code) || isHeldByProcess(error);
}

function hopeful(name: string, { code, message, cause }: StorageError): StorageError {
  const first = code === 'pool/held' ? 'stop the other process' : 'bring the disk back';
  const actions = [`${first}: pool ${name} is opened by itself then, within seconds`];
  return new StorageError(code, message, { cause, actions });
}

function beingOpened(name: string): StorageError {
  const text = `pool ${name} is being opened, which takes longer than usual: a disk may not answer, or its index is built anew`;
  return new StorageError('pool/opening', text, {
    actions: ['wait: it is served by itself as soon as it is open', `varve pool show ${name}`],
  });
}

function broken(name: string, cause: unknown): StorageError {
  const text = `pool ${name} cannot be opened: ${messageOf(cause)}`;
  return new StorageError('pool/failed', text, { cause });
}

/** Waits for the work, but no longer than that; it goes on. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const late = delay(ms, undefined, { ref: false, signal: timer.signal }).catch(() => {});
  try {
    await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
