/**
 * Family: the volumes that share layers, or whose snapshots do; what moves to another pool moves as a whole.
 *
 *   volume ── head ── parent ── … ── snapshot of another volume ── that volume ── …        everything that hangs together
 *
 * Pure: records in, ids out.
 */
import type { LayerRecord } from './records.ts';
import type { VolumeRecord } from './types.ts';

export interface FamilyRecords {
  readonly layers: readonly Pick<LayerRecord, 'id' | 'parent'>[];
  readonly volumes: readonly Pick<VolumeRecord, 'id' | 'headLayer'>[];
  /** Snapshots and bookmarks. */
  readonly names: readonly { readonly volume?: number; readonly layer: number }[];
}

export interface Family {
  readonly volumes: ReadonlySet<number>;
  readonly layers: ReadonlySet<number>;
}

/** Layers and volumes in one set of numbers. */
const ofLayer = (id: number) => 2 * id;
const ofVolume = (id: number) => 2 * id + 1;

/** Of the volume with that id; empty when there is none. */
export function familyOf({ layers, volumes, names }: FamilyRecords, volume: number): Family {
  const groups = new Groups();
  for (const { id, parent } of layers) {
    if (parent !== null) groups.join(ofLayer(id), ofLayer(parent));
  }
  for (const { id, headLayer } of volumes) groups.join(ofVolume(id), ofLayer(headLayer));
  for (const { volume: owner, layer } of names) {
    if (owner !== undefined) groups.join(ofVolume(owner), ofLayer(layer));
  }
  const family = groups.of(ofVolume(volume));
  const isIn = (member: number) => groups.of(member) === family;
  return {
    volumes: new Set(volumes.filter(({ id }) => isIn(ofVolume(id))).map(({ id }) => id)),
    layers: new Set(layers.filter(({ id }) => isIn(ofLayer(id))).map(({ id }) => id)),
  };
}

/** Disjoint sets of numbers. */
class Groups {
  readonly #parents = new Map<number, number>();

  /** What stands for the group of a number. */
  of(member: number): number {
    let at = member;
    for (;;) {
      const parent = this.#parents.get(at);
      if (parent === undefined) return at;
      const above = this.#parents.get(parent);
      if (above !== undefined) this.#parents.set(at, above);
      at = parent;
    }
  }

  join(a: number, b: number): void {
    const [rootA, rootB] = [this.of(a), this.of(b)];
    if (rootA !== rootB) this.#parents.set(rootA, rootB);
  }
}
