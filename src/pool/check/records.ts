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
    for (const [id, { id: ownId, name, headLayer, sizeBytes, state }] of this.#numbered('volume')) {
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
      if (state !== 'deleting' && names.has(name)) {
        this.#log.damage('volume/name', where, `the name ${String(name)} is there twice`);
      }
      if (state !== 'deleting') names.add(name);
      heads.set(headLayer, sizeBytes);
    }
    return heads;
  }

  #checkLayers(heads: ReadonlyMap<number, number>): void {
    const layers = this.#numbered('layer');
    const parents = new Set(layers.map(([, { parent }]) => parent));
    for (const [id, { parent }] of layers) {
      const where = `layer/${id}`;
      if (typeof parent === 'number' && !this.#records.has(`layer/${parent}`)) {
        this.#log.damage('layer/parent', where, `its parent ${parent} has no record`);
      }
      if (!heads.has(id) && !parents.has(id)) {
        this.#log.damage('layer/orphan', where, 'no volume and no layer reads through it');
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
