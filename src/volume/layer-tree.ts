/**
 * LayerTree: how the layers of a pool hang together, and who names them.
 *
 *   base ← frozen ← frozen ← head of volume a
 *              └← frozen ← head of volume b            named: by a volume (its head), by snapshots; bookmarks only mark
 *
 * Built from a pool's records, and good as long as these are its records. Says also how the tree can shrink: a frozen layer that nobody
 * names is there for those that read through it, and for nobody else.
 */
import { invariant } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import { type Family, familyOf } from './family.ts';
import { arrivalRecords, keptRecords, moveRecords } from './moves.ts';
import type { LayerRecord } from './records.ts';
import type { VolumeRecord } from './types.ts';

/** What the tree needs of a snapshot's or a bookmark's record. */
export interface LayerName {
  readonly id: number;
  readonly layer: number;
  readonly volume?: number;
}

export interface TreeRecords {
  readonly layers: readonly LayerRecord[];
  readonly volumes: readonly VolumeRecord[];
  readonly snapshots: readonly LayerName[];
  readonly bookmarks: readonly LayerName[];
  /** Volumes on their way to another pool. */
  readonly moves?: readonly { readonly volume: number }[];
  /** Layers that a move needs as they are although it has ended. */
  readonly holders?: readonly { readonly layers: readonly number[] }[];
}

/**
 * How an unnamed frozen layer may shrink:
 *
 *   reap    nobody reads through it          → its clusters are released
 *   merge   one frozen layer reads through   → both become one
 *   absorb  one head reads through           → the head takes what it can
 *   prune   as merge or absorb, but a bookmark keeps the boundary → what is overridden above is released
 */
export type Reduction =
  | { readonly kind: 'reap'; readonly layer: number }
  | {
      readonly kind: 'merge';
      readonly layer: number;
      readonly child: number;
      readonly volume?: undefined;
    }
  | {
      readonly kind: 'absorb';
      readonly layer: number;
      readonly child: number;
      readonly volume: VolumeRecord;
    }
  | {
      readonly kind: 'prune';
      readonly layer: number;
      readonly child: number;
      /** The uppermost of the layers that everybody who reads this one comes through. */
      readonly top: number;
      /** Whose head that is. */
      readonly volume: VolumeRecord | undefined;
    };

const none: readonly never[] = [];
/** Of the records that each pool had when it was asked for last. */
const lastTrees = new WeakMap<Pool, { readonly records: TreeRecords; readonly tree: LayerTree }>();

export class LayerTree {
  readonly #parents = new Map<number, number | null>();
  readonly #children = new Map<number, number[]>();
  readonly #heads = new Map<number, VolumeRecord>();
  readonly #snapshots = new Map<number, number[]>();
  readonly #bookmarks = new Map<number, number[]>();
  /** Layers whose slots point to a disk that is only read. */
  readonly #foreign = new Set<number>();
  /** Nobody shows them, or not any more, and they stay. */
  readonly #held = new Set<number>();
  readonly #records: TreeRecords;
  /** Of volumes on their way: what is being copied stays what it is. */
  #moving: ReadonlySet<number> | undefined;
  /** Layers that some name reads through, or is on; found out when somebody asks. */
  #alive: ReadonlySet<number> | undefined;
  #reductions: readonly Reduction[] | undefined;
  /** Found once, however many layers lie upon one another. */
  readonly #tops = new Map<number, number>();

  constructor(records: TreeRecords) {
    const { layers, volumes, snapshots, bookmarks, holders = none } = records;
    this.#records = records;
    for (const { id, parent, foreign, adopting, incoming } of layers) {
      this.#parents.set(id, parent);
      if (foreign !== undefined) this.#foreign.add(id);
      if (adopting || incoming !== undefined) this.#held.add(id);
      if (parent !== null) push(this.#children, parent, id);
    }
    for (const volume of volumes) this.#heads.set(volume.headLayer, volume);
    for (const { id, layer } of snapshots) push(this.#snapshots, layer, id);
    for (const { id, layer } of bookmarks) push(this.#bookmarks, layer, id);
    for (const layer of holders.flatMap((holder) => holder.layers)) {
      if (this.#parents.has(layer)) this.#held.add(layer);
    }
  }

  /** As the pool's records are now; the same tree until one of them changes. */
  static of(pool: Pool): LayerTree {
    const records: TreeRecords = {
      layers: pool.records<LayerRecord>('layer/'),
      volumes: pool.records<VolumeRecord>('volume/'),
      snapshots: pool.records<LayerName>('snapshot/'),
      bookmarks: pool.records<LayerName>('bookmark/'),
      moves: moveRecords(pool),
      holders: holdersOf(pool),
    };
    const last = lastTrees.get(pool);
    if (last !== undefined && areSame(last.records, records)) return last.tree;
    const tree = new LayerTree(records);
    lastTrees.set(pool, { records, tree });
    return tree;
  }

  get layers(): IterableIterator<number> {
    return this.#parents.keys();
  }

  has(layer: number): boolean {
    return this.#parents.has(layer);
  }

  parent(layer: number): number | null {
    return this.#parents.get(layer) ?? null;
  }

  /** The layer and all that it reads through to, in that order. */
  chain(layer: number): number[] {
    const chain: number[] = [];
    for (let at: number | null = layer; at !== null; at = this.parent(at)) {
      invariant(chain.length <= this.#parents.size, `layer ${layer} does not read through itself`);
      chain.push(at);
    }
    return chain;
  }

  /** Whether the layer is the other one, or reads through it. */
  readsThrough(layer: number, other: number): boolean {
    let at: number | null = layer;
    while (at !== null && at !== other) at = this.parent(at);
    return at === other;
  }

  children(layer: number): readonly number[] {
    return this.#children.get(layer) ?? none;
  }

  /** The volume whose head it is. */
  headOf(layer: number): VolumeRecord | undefined {
    return this.#heads.get(layer);
  }

  snapshotsOn(layer: number): readonly number[] {
    return this.#snapshots.get(layer) ?? none;
  }

  bookmarksOn(layer: number): readonly number[] {
    return this.#bookmarks.get(layer) ?? none;
  }

  isNamed(layer: number): boolean {
    return this.#heads.has(layer) || this.#snapshots.has(layer) || this.#held.has(layer);
  }

  /** Whether a volume or a snapshot shows it; what is not alive is the reaper's alone. */
  isAlive(layer: number): boolean {
    this.#alive ??= this.#findAlive();
    return this.#alive.has(layer);
  }

  isForeign(layer: number): boolean {
    return this.#foreign.has(layer);
  }

  /** What hangs together with a volume, by its id. */
  familyOf(volume: number): Family {
    const { layers, volumes, snapshots, bookmarks } = this.#records;
    return familyOf({ layers, volumes, names: [...snapshots, ...bookmarks] }, volume);
  }

  /** How it may shrink; undefined when it is named, moves, several read through it, or what does is about to be reaped. */
  reductionOf(layer: number): Reduction | undefined {
    if (this.isNamed(layer) || this.#isMoving(layer)) return undefined;
    const [child, ...others] = this.children(layer);
    if (child === undefined) return { kind: 'reap', layer };
    if (others.length > 0 || !this.isAlive(child)) return undefined;
    // A head would overwrite what it takes over.
    if (this.#foreign.has(layer)) return undefined;
    if (this.#bookmarks.has(layer)) {
      const top = this.#topOf(child);
      return { kind: 'prune', layer, child, top, volume: this.headOf(top) };
    }
    const volume = this.headOf(child);
    return volume === undefined
      ? { kind: 'merge', layer, child }
      : { kind: 'absorb', layer, child, volume };
  }

  reductions(): readonly Reduction[] {
    this.#reductions ??= [...this.layers].flatMap((layer) => this.reductionOf(layer) ?? []);
    return this.#reductions;
  }

  /** The uppermost of those through which alone the layer is read; or itself. */
  #topOf(layer: number): number {
    const passed: number[] = [];
    let top = layer;
    for (;;) {
      const known = this.#tops.get(top);
      const [child, ...others] = this.children(top);
      const isTop = this.isNamed(top) || child === undefined || others.length > 0;
      if (known === undefined && !isTop) {
        passed.push(top);
        top = child;
        continue;
      }
      top = known ?? top;
      for (const each of passed) this.#tops.set(each, top);
      return top;
    }
  }

  #isMoving(layer: number): boolean {
    const { moves = none } = this.#records;
    if (moves.length === 0) return false;
    this.#moving ??= new Set(moves.flatMap(({ volume }) => [...this.familyOf(volume).layers]));
    return this.#moving.has(layer);
  }

  #findAlive(): Set<number> {
    const alive = new Set<number>();
    const names = [...this.#heads.keys(), ...this.#snapshots.keys(), ...this.#held];
    for (const layer of names) {
      for (let at: number | null = layer; at !== null && !alive.has(at); at = this.parent(at)) {
        alive.add(at);
      }
    }
    return alive;
  }
}

function areSame(a: TreeRecords, b: TreeRecords): boolean {
  return (
    a.layers === b.layers &&
    a.volumes === b.volumes &&
    a.snapshots === b.snapshots &&
    a.bookmarks === b.bookmarks &&
    a.moves === b.moves &&
    a.holders === b.holders
  );
}

type Holder = { readonly layers: readonly number[] };
/** Of the records that each pool had when it was asked for last: the same array as long as they are the same. */
const lastHolders = new WeakMap<
  Pool,
  { kept: readonly Holder[]; arrived: readonly Holder[]; all: readonly Holder[] }
>();

function holdersOf(pool: Pool): readonly Holder[] {
  const [kept, arrived] = [keptRecords(pool), arrivalRecords(pool)];
  const last = lastHolders.get(pool);
  if (last !== undefined && last.kept === kept && last.arrived === arrived) return last.all;
  const all = [...kept, ...arrived];
  lastHolders.set(pool, { kept, arrived, all });
  return all;
}

function push(map: Map<number, number[]>, key: number, value: number): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [value]);
  else known.push(value);
}
