/**
 * Damage: sub-blocks that are known not to hold what was written (docs/format.md section 11). To read them is an error.
 *
 *   R damage/<disk>/<cluster>  DamageRecord
 *
 * A mark is a cluster's, whichever layer owns it: merges need not know of it. Clusters that are marked belong to frozen layers and never come to a head,
 * which could overwrite them in place. The mark goes when the cluster is released (Pool.commit), and moves with the content (src/migration/relocate.ts).
 */
import type { ClusterPlace } from './allocator.ts';
import type { BatchOp, ClusterRun } from './format/batch.ts';
import { slotMask } from './format/slot.ts';
import { type SlotEntry, SlotStates } from './format/slot-states.ts';
import { type ClusterAddress, placeOf } from './pending-moves.ts';
import { deleteRecord, putRecord } from './pool-records.ts';
import type { PoolWarning } from './types.ts';

export interface DamageRecord extends ClusterPlace {
  /** Bit n: sub-block n. */
  readonly mask: number;
  /** Of the volumes that show it: it is the same in all. */
  readonly slot: number;
  readonly foundAt: string;
}

/** Where reads of damaged sub-blocks are led (kDamagedAddress of native/volume/slot_view.h). */
export const damagedAddress: ClusterAddress = { hi: 0xff000000, lo: 0x20000 };

export function damageOp(record: DamageRecord): BatchOp {
  return putRecord(damageName(record), record);
}

/** The damage of a pool, as its records say; the same object as long as they are the same. */
export class Damage {
  static readonly #known = new WeakMap<readonly DamageRecord[], Damage>();
  readonly #marks: ReadonlyMap<string, DamageRecord>;

  private constructor(records: readonly DamageRecord[]) {
    this.#marks = new Map(records.map((record) => [damageName(record), record]));
  }

  static of(records: readonly DamageRecord[]): Damage {
    const known = Damage.#known.get(records) ?? new Damage(records);
    Damage.#known.set(records, known);
    return known;
  }

  get isNone(): boolean {
    return this.#marks.size === 0;
  }

  get records(): readonly DamageRecord[] {
    return [...this.#marks.values()];
  }

  at(place: ClusterPlace): DamageRecord | undefined {
    return this.isNone ? undefined : this.#marks.get(damageName(place));
  }

  /** Which of the sub-blocks that an entry claims are damaged. */
  maskOf(entry: SlotEntry): number {
    if (this.isNone) return 0;
    return (this.at(placeOf(entry))?.mask ?? 0) & slotMask(entry.lo);
  }

  /** What forgets the marks of clusters that are given up. */
  forgetting(runs: readonly ClusterRun[]): BatchOp[] {
    return this.records
      .filter(({ disk, cluster }) => runs.some((run) => isIn(run, disk, cluster)))
      .map((record) => deleteRecord(damageName(record)));
  }

  /** The states as readers are to see them: damaged sub-blocks lie where nothing can be read. */
  shown(states: SlotStates): SlotStates {
    if (this.isNone) return states;
    let shown: SlotStates | undefined;
    for (let slot = 0; slot < states.count; slot++) {
      const damaged = states.clusters(slot).reduce((mask, entry) => mask | this.maskOf(entry), 0);
      if (damaged === 0) continue;
      shown ??= copyOf(states);
      shown.set(slot, [
        ...states.entries(slot).flatMap((entry) => without(entry, damaged)),
        poison(damaged),
      ]);
    }
    return shown ?? states;
  }
}

function damageName({ disk, cluster }: ClusterPlace): string {
  return `damage/${disk}/${cluster}`;
}

function isIn({ disk, firstCluster, count }: ClusterRun, onDisk: number, cluster: number): boolean {
  return disk === onDisk && cluster >= firstCluster && cluster < firstCluster + count;
}

function without({ hi, lo }: SlotEntry, mask: number): SlotEntry[] {
  const left = slotMask(lo) & ~mask;
  return left === 0 ? [] : [{ hi, lo: lo - slotMask(lo) + left }];
}

function poison(mask: number): SlotEntry {
  return { hi: damagedAddress.hi, lo: damagedAddress.lo + mask };
}

function copyOf(states: SlotStates): SlotStates {
  const copy = new SlotStates(states.count, states.words.slice(), states.zeros.slice());
  for (const [slot, extras] of states.extras) copy.extras.set(slot, extras);
  return copy;
}

export function damageWarnings(pool: string, { records }: Damage): PoolWarning[] {
  if (records.length === 0) return [];
  const message = `${records.length} cluster${records.length === 1 ? '' : 's'} of frozen layers ${records.length === 1 ? 'is' : 'are'} damaged: to read them is an error`;
  return [
    {
      level: 'critical',
      code: 'pool/data-damaged',
      message,
      actions: [`varve pool scrub ${pool} lists where`],
    },
  ];
}
