/**
 * The pool's records under check: they are JSON, and volumes, layers and disks refer to each other.
 */
import { slotsPerLeaf } from '../../base/units.ts';
import type { CheckedPool } from './disks.ts';
import type { FindingLog } from './findings.ts';

type Fields = Readonly<Record<string, unknown>>;

const layerSpaceName = /^space\/(\d+)$/;

export class RecordCheck {
  readonly #log: FindingLog;
  readonly #records = new Map<string, Fields>();

  constructor(log: FindingLog) {
    this.#log = log;
  }

  add(name: string, value: Uint8Array): void {
    const fields = parseFields(value);
    if (fields === undefined) this.#log.damage('record/malformed', name, 'is no JSON object');
    else this.#records.set(name, fields);
  }

  /** @param lastLeaves the highest leaf of each layer that has any */
  finish(pool: CheckedPool, lastLeaves: ReadonlyMap<number, number>): void {
    const heads = this.#checkVolumes();
    this.#checkLayers(heads);
    this.#checkSnapshots(heads);
    this.#checkLeaves(pool, heads, lastLeaves);
    this.#checkDisks(pool);
  }

  #numbered(kind: string): [id: number, fields: Fields][] {
    const prefix = `${kind}/`;
    return [...this.#records]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, fields]) => [Number(name.slice(prefix.length)), fields]);
  }

  /** @returns the size of the volume that each head layer serves */
  #checkVolumes(): Map<number, number> {
    const heads = new Map<number, number>();
    const names = new Set<unknown>();
    for (const [id, { id: ownId, name, headLayer, sizeBytes }] of this.#numbered('volume')) {
      const where = `volume/${id}`;
      if (ownId !== id || typeof headLayer !== 'number' || typeof sizeBytes !== 'number') {
        this.#log.damage('record/malformed', where, 'lacks id, head layer or size');
        continue;
      }
      if (heads.has(headLayer))
        this.#log.damage('volume/layer', where, `shares head layer ${headLayer}`);
      if (!this.#records.has(`layer/${headLayer}`)) {
        this.#log.damage('volume/layer', where, `its head layer ${headLayer} has no record`);
      }
      if (names.has(name)) {
        this.#log.damage('volume/name', where, `the name ${String(name)} is there twice`);
      }
      names.add(name);
      heads.set(headLayer, sizeBytes);
    }
    return heads;
  }

  /** A layer that nobody names and nobody reads through is being given back: no damage. */
  #checkLayers(heads: ReadonlyMap<number, number>): void {
    const layers = this.#numbered('layer');
    const parents = new Map(layers.map(([id, { parent }]) => [id, parent]));
    for (const [id, parent] of parents) {
      const where = `layer/${id}`;
      if (typeof parent !== 'number') continue;
      if (!parents.has(parent)) {
        this.#log.damage('layer/parent', where, `its parent ${parent} has no record`);
      }
      if (heads.has(parent)) {
        this.#log.damage('layer/parent', where, `reads through the head ${parent} of a volume`);
      }
      if (this.#readsThroughItself(id, parents)) {
        this.#log.damage('layer/circle', where, 'reads through itself');
      }
    }
  }

  #readsThroughItself(layer: number, parents: ReadonlyMap<number, unknown>): boolean {
    let at = parents.get(layer);
    for (let depth = 0; typeof at === 'number' && depth < parents.size; depth++) {
      if (at === layer) return true;
      at = parents.get(at);
    }
    return false;
  }

  #checkSnapshots(heads: ReadonlyMap<number, number>): void {
    const names = new Set<string>();
    for (const kind of ['snapshot', 'bookmark']) {
      for (const [id, { id: ownId, volume, name, layer }] of this.#numbered(kind)) {
        const where = `${kind}/${id}`;
        if (ownId !== id || typeof layer !== 'number' || typeof volume !== 'number') {
          this.#log.damage('record/malformed', where, 'lacks id, volume or layer');
          continue;
        }
        if (!this.#records.has(`layer/${layer}`) || heads.has(layer)) {
          this.#log.damage('snapshot/layer', where, `its layer ${layer} is not a frozen one`);
        }
        const full = `${volume}@${String(name)}`;
        if (names.has(full)) {
          this.#log.damage('snapshot/name', where, `the name ${full} is there twice`);
        }
        names.add(full);
      }
    }
  }

  #checkLeaves(
    pool: CheckedPool,
    heads: ReadonlyMap<number, number>,
    lastLeaves: ReadonlyMap<number, number>,
  ): void {
    const leafSize = pool.truth.clusterBytes * slotsPerLeaf;
    for (const [layer, leaf] of lastLeaves) {
      const where = `layer ${layer}`;
      const sizeBytes = heads.get(layer);
      if (!this.#records.has(`layer/${layer}`)) {
        this.#log.damage('leaf/layer', where, 'has leaves but no record');
      }
      if (sizeBytes !== undefined && leaf * leafSize >= sizeBytes) {
        this.#log.damage(
          'leaf/beyond',
          where,
          `leaf ${leaf} lies behind the volume's ${sizeBytes} bytes`,
        );
      }
    }
  }

  #checkDisks(pool: CheckedPool): void {
    const recorded = this.#numbered('disk');
    if (recorded.length === 0) return;
    const uuids = new Map(recorded.map(([number, { uuid }]) => [number, uuid]));
    for (const { path, label } of pool.disks) {
      const uuid = uuids.get(label.diskNumber);
      if (uuid === undefined || uuid === label.diskUuid) continue;
      this.#log.damage(
        'disk/record',
        path,
        `is ${label.diskUuid}, the pool's disk is ${String(uuid)}`,
      );
    }
  }
}

function parseFields(value: Uint8Array): Fields | undefined {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Fields) : undefined;
  } catch {
    return undefined;
  }
}

/** The layer whose space a record counts, if it is such a record. */
export function countedLayer(name: string): number | undefined {
  const layer = layerSpaceName.exec(name)?.[1];
  return layer === undefined ? undefined : Number(layer);
}

/** The clusters that a space record counts. */
export function countedClusters(value: Uint8Array): unknown {
  return parseFields(value)?.clusters;
}
