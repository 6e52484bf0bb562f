/**
 * Copy on write: what is to be overwritten moves away first, and the frozen layer finds it there.
 *
 *   a writer waits for a slot → old content copied to a free cluster → every open page table reads it there → nobody reads the old place on behalf
 *   of a frozen layer any more → one batch: the frozen layer has the new cluster, the head the old one → the writer goes on, in place
 *
 * Where the pool has no room, writers look again: they are held, or refused, before they ask (native/volume/write_op.cc).
 * The batch is durable only behind the copy (rule 1), and the old place is overwritten only behind the batch, so that after a crash at any moment the
 * frozen layer has its content. Slots that wait together are done together. Runs between other changes of structure.
 * Elsewhere: when a writer has to wait (native/volume/write_op.cc), the other mode, which copies nothing.
 */
import { InvariantError, StorageError } from '../base/errors.ts';
import { slotsPerLeaf, slotsPerRegion } from '../base/units.ts';
import type { CowWanted, VolumePlane } from '../dataplane/data-plane.ts';
import { type ClusterPlace, placesOf } from '../pool/allocator.ts';
import { type BatchOp, packed } from '../pool/format/batch.ts';
import type { LeafEntry } from '../pool/format/leaf.ts';
import type { Seal } from '../pool/format/seal.ts';
import { slotDisk, slotMask } from '../pool/format/slot.ts';
import { compareEntries, type SlotEntry, type SlotStates } from '../pool/format/slot-states.ts';
import { addressOf, type ClusterAddress, placeOf } from '../pool/pending-moves.ts';
import type { Pool } from '../pool/pool.ts';
import { visibleIn } from '../pool/resolve.ts';
import { chainOf, volumeKey } from '../volume/chain.ts';
import { volumeRecords } from '../volume/records.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { copiesOf } from './sub-block-copies.ts';

const EIO = 5;
/** Copied and committed together: 8 MiB at the default cluster size. */
const slotsPerTurn = 128;

interface Waiting {
  readonly key: string;
  readonly plane: VolumePlane;
  readonly wanted: CowWanted;
}

/** What is moved for one slot. */
interface Move extends Waiting {
  readonly head: number;
  /** The layer whose slot holds the cluster, and the slot's content there. */
  readonly owner: number;
  readonly content: readonly SlotEntry[];
  readonly seals: readonly Seal[];
  readonly from: ClusterAddress;
  /** Of the owner's entry, and what of it shows through to the head. */
  readonly mask: number;
  readonly visible: number;
  readonly to: ClusterAddress;
  /** The old place can never be the head's: it gets the copy, and the frozen layer keeps what it has. */
  readonly isForeign: boolean;
}

type Plan = Omit<Move, 'to'>;

export class CopyOnWrite {
  readonly #pool: Pool;
  readonly #volumes: VolumeService;
  #waiting: Waiting[] = [];
  #running = false;

  constructor(pool: Pool, volumes: VolumeService) {
    this.#pool = pool;
    this.#volumes = volumes;
    pool.onCowWanted(({ key, plane }, wanted) => {
      this.#waiting.push({ key, plane, wanted });
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (this.#waiting.length > 0) {
      await this.#volumes.exclusively(this.#pool, async () => {
        const turn = this.#waiting.splice(0, slotsPerTurn);
        // The map was forgotten since: their writers look again.
        const valid = turn.filter(({ plane, wanted }) => plane.era === wanted.era);
        await this.#moveAll(valid);
      });
    }
    this.#running = false;
  }

  /** Together; where the pool has not room for all, one by one. */
  async #moveAll(waiting: readonly Waiting[]): Promise<void> {
    try {
      await this.#move(waiting);
    } catch (error) {
      if (!isFull(error)) return fail(waiting);
      if (waiting.length <= 1) return letLookAgain(waiting);
      for (const each of waiting) await this.#moveAll([each]);
    }
  }

  async #move(waiting: readonly Waiting[]): Promise<void> {
    const { plans, later } = await this.#planAll(waiting);
    const held = this.#pool.holdClusters(plans.length);
    const places = held.flatMap(placesOf);
    const moves = plans.map((plan, at): Move => {
      const { disk, cluster } = places[at] as ClusterPlace;
      return { ...plan, to: addressOf(disk, cluster) };
    });
    try {
      await this.#pool.copyClusters(
        moves.flatMap(({ from, to, mask }) =>
          copiesOf(this.#pool.clusterBytes, { from: placeOf(from), to: placeOf(to), mask }),
        ),
      );
    } catch (error) {
      this.#pool.returnClusters(held);
      throw error;
    }
    const end = await this.#pool.movePlaces(
      moves.flatMap(({ wanted, from, to, isForeign }) =>
        isForeign ? [] : [{ slot: wanted.slot, from, to }],
      ),
    );
    try {
      for (const batch of packed(moves.map(opsOf), this.#pool.batchBytesMax)) {
        await this.#pool.commit(batch);
      }
    } finally {
      end();
    }
    for (const move of moves) {
      const range = { first: move.wanted.slot, count: 1 };
      const { hi, lo } = headsPlace(move);
      move.plane.unlockSlots(range, [0, lo + move.visible, hi, move.wanted.zero]);
    }
    // Not before: whoever waits is either told of a failure or looked at again, never both.
    this.#waiting.push(...later);
  }

  /** Of those who want the same cluster, clones of one snapshot, the first gets it now; the others look again where it is then. */
  async #planAll(
    waiting: readonly Waiting[],
  ): Promise<{ plans: readonly Plan[]; later: readonly Waiting[] }> {
    const plans = new Map<string, Plan>();
    const later: Waiting[] = [];
    for (const each of waiting) {
      const plan = await this.#plan(each);
      if (this.#pool.damage.maskOf({ hi: plan.from.hi, lo: plan.from.lo + plan.mask }) !== 0) {
        // Found to be damaged since it was asked for: the next write goes elsewhere.
        each.plane.failSlot(each.wanted.slot, EIO);
        continue;
      }
      const cluster = `${plan.from.hi}/${plan.from.lo}`;
      if (plans.has(cluster)) later.push(each);
      else plans.set(cluster, plan);
    }
    return { plans: [...plans.values()], later };
  }

  async #plan({ key, plane, wanted }: Waiting): Promise<Plan> {
    const pool = this.#pool;
    const { slot, zero } = wanted;
    const region = Math.floor(slot / slotsPerRegion);
    const volume = volumeRecords(pool).find(({ id }) => volumeKey(id) === key);
    const { chain, stack } = await pool.index.readChainRegion(
      () => chainOf(pool, volume?.headLayer),
      region,
      { seals: true },
    );
    const at = slot % slotsPerRegion;
    const [cluster] = visibleIn(stack.slice(1), at).filter(({ mask }) => (mask & ~zero) !== 0);
    const owner = stack.findIndex((states, depth) => depth > 0 && owns(states, at, cluster));
    if (cluster === undefined || owner < 0) {
      throw new InvariantError(`slot ${slot} of ${key} inherits the cluster it waits for`);
    }
    const mask = slotMask(cluster.lo);
    return {
      key,
      plane,
      wanted,
      head: chain[0] as number,
      owner: chain[owner] as number,
      content: (stack[owner] as SlotStates).entries(at),
      seals: (stack[owner] as SlotStates).seals(at),
      from: { hi: cluster.hi, lo: cluster.lo - mask },
      mask,
      visible: cluster.mask & ~zero,
      isForeign: pool.isForeign(slotDisk(cluster.hi)),
    };
  }
}

function owns(states: SlotStates, slot: number, cluster: SlotEntry | undefined): boolean {
  return states.clusters(slot).some(({ hi, lo }) => hi === cluster?.hi && lo === cluster.lo);
}

function headsPlace({ isForeign, from, to }: Move): ClusterAddress {
  return isForeign ? to : from;
}

/** The frozen layer has the new cluster, the head the old one: it gains one, the layer loses none. */
function opsOf(move: Move): BatchOp[] {
  const { wanted, head, owner, content, from, to, mask, visible } = move;
  const leaf = Math.floor(wanted.slot / slotsPerLeaf);
  const slot = wanted.slot % slotsPerLeaf;
  const { disk, cluster } = placeOf(to);
  const now = <T extends SlotEntry>(entry: T): T =>
    entry.hi === from.hi && entry.lo === from.lo + mask
      ? { ...entry, hi: to.hi, lo: to.lo + mask }
      : entry;
  const zeroes = wanted.zero === 0 ? [] : [{ hi: 0, lo: wanted.zero }];
  const place = headsPlace(move);
  const own = [...zeroes, { hi: place.hi, lo: place.lo + visible }];
  const ofOwner: BatchOp = {
    op: 'patch',
    layer: owner,
    leaf,
    entries: inSlot(slot, content.map(now)),
  };
  const sealed: BatchOp = {
    op: 'seal',
    layer: owner,
    leaf,
    seals: move.seals.map((seal) => ({ ...now(seal), slot })),
  };
  return [
    ...(move.isForeign ? [] : [ofOwner, ...(move.seals.length === 0 ? [] : [sealed])]),
    { op: 'patch', layer: head, leaf, entries: inSlot(slot, own) },
    { op: 'acquire', disk, firstCluster: cluster, count: 1 },
    { op: 'count', layer: head, change: 1 },
  ];
}

function inSlot(slot: number, entries: readonly SlotEntry[]): LeafEntry[] {
  return [...entries].sort(compareEntries).map(({ hi, lo }) => ({ slot, hi, lo }));
}

function isFull(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'pool/full';
}

function fail(waiting: readonly Waiting[]): void {
  for (const { plane, wanted } of waiting) plane.failSlot(wanted.slot, EIO);
}

/** Nothing has changed for them but what they know of the pool's space. */
function letLookAgain(waiting: readonly Waiting[]): void {
  for (const { plane, wanted } of waiting) plane.unlockSlots({ first: wanted.slot, count: 1 });
}
