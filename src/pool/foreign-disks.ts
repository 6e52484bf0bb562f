/**
 * The foreign disks that an open pool reads from, by number.
 *
 * Numbers come from the top downwards: the pool's own disks are numbered from 0 on and never meet them.
 */
import { StorageError } from '../base/errors.ts';
import type { DiskUse } from './backing.ts';
import type { PoolDisk } from './disk-set.ts';
import type { ForeignDiskRecord, OpenForeignDisk } from './foreign-disk.ts';
import { locationOfForeign } from './foreign-disk.ts';
import { diskLimit } from './format/slot.ts';
import type { PoolWarning } from './types.ts';

/** The pool's own disks need numbers too. */
const foreignDisksMax = 128;

export class ForeignDisks {
  readonly #open = new Map<number, OpenForeignDisk>();

  constructor(open: readonly OpenForeignDisk[]) {
    for (const disk of open) this.add(disk);
  }

  get all(): readonly OpenForeignDisk[] {
    return [...this.#open.values()];
  }

  has(number: number): boolean {
    return this.#open.has(number);
  }

  get(number: number): OpenForeignDisk | undefined {
    return this.#open.get(number);
  }

  add(disk: OpenForeignDisk): void {
    this.#open.set(disk.record.number, disk);
  }

  remove(number: number): void {
    this.#open.delete(number);
  }

  /** Those that may answer, and so may be waited for. */
  get awaited(): readonly Pick<PoolDisk, 'location' | 'plane'>[] {
    const awaited = this.all.filter(({ isAbsent }) => !isAbsent);
    return awaited.map(({ record, plane }) => ({ location: locationOfForeign(record), plane }));
  }

  /** @param own numbers of the pool's own disks @throws StorageError disk/unusable there is none left */
  freeNumber(pool: string, own: readonly number[]): number {
    for (let number = diskLimit - 1; number > diskLimit - 1 - foreignDisksMax; number--) {
      if (!this.#open.has(number) && !own.includes(number)) return number;
    }
    throw new StorageError(
      'disk/unusable',
      `pool ${pool} reads from ${this.#open.size} adopted disks, no more are possible`,
      { actions: ['absorb or delete adopted volumes first, or adopt into another pool'] },
    );
  }

  warnings(): PoolWarning[] {
    return this.all.flatMap(({ record, problem, isAbsent }) => {
      if (problem === null) return [];
      const ends = isAbsent ? 'fails' : "waits for the pool's patience, then fails";
      return [
        {
          level: 'critical',
          code: 'disk/unusable',
          message: `${problem}; what the volume adopted from it still reads there ${ends} with an I/O error`,
          actions: [remedyFor(record), ...(isAbsent ? ['then restart the service'] : [])],
        },
      ];
    });
  }

  async close(): Promise<void> {
    for (const { plane } of this.#open.values()) await plane.close();
  }
}

export function foreignUse(pool: string, record: ForeignDiskRecord): DiskUse {
  return { use: `was adopted into pool ${pool}`, disks: [locationOfForeign(record)] };
}

function remedyFor({ foreign: { path, modifiedNs } }: ForeignDiskRecord): string {
  if (modifiedNs === null) return `let ${path} answer, with its content of the adoption`;
  const seconds = Number(BigInt(modifiedNs) / 1_000_000_000n);
  return `put ${path} back as it was when it was adopted (its time of change was @${seconds})`;
}
