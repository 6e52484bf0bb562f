/**
 * Changes: changes of structure come one at a time in each pool, and one at a time for each name of a volume; none sees half of another.
 *
 * A pool whose disks do not answer holds up no other: its changes wait, those elsewhere go on.
 */
import { KeyedMutex } from '../base/keyed-mutex.ts';
import type { Pool } from '../pool/pool.ts';

/** What a change is about. */
export interface ChangeScope {
  readonly pools: readonly Pool[];
  /** Of volumes that it makes, renames or deletes: they are known over all pools. */
  readonly names?: readonly string[];
}

/** Asked before the turn, and again in it: a volume may have gone to another pool meanwhile. */
export type ScopeNow = () => ChangeScope;

export class Changes {
  readonly #turns = new KeyedMutex();

  /** @throws what `scope` and `work` throw */
  async run<T>(scope: ScopeNow, work: () => Promise<T>): Promise<T> {
    for (;;) {
      const keys = keysOf(scope());
      const done = await this.#turns.run(keys, async () =>
        isSame(keys, keysOf(scope())) ? { result: await work() } : undefined,
      );
      if (done !== undefined) return done.result;
    }
  }
}

function keysOf({ pools, names = [] }: ChangeScope): string[] {
  const all = [
    ...pools.map(({ uuid }) => `pool ${uuid}`),
    ...names.map((name) => `volume ${name}`),
  ];
  return [...new Set(all)];
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((key) => b.includes(key));
}
