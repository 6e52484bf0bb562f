/**
 * The volume layer's records in a pool's index.
 *
 *   volume/<id>    VolumeRecord       layer/<id>   LayerRecord      counters   the next ids; none is ever used twice
 *   filling/<id>   FillingRecord      of a thick volume that does not have all of its space yet
 */
import { isForeign } from '../pool/foreign-disk.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import { deleteRecord, putRecord } from '../pool/pool-records.ts';
import type { VolumeRecord } from './types.ts';

/** As stored under `R layer/<id>`. */
export interface LayerRecord {
  readonly id: number;
  /** The layer that holes read through to; null: they read as zero. */
  readonly parent: number | null;
  /** The foreign disk that its slots point to; it stays a layer of its own until they do not any more. */
  readonly foreign?: number;
  /** It is being made, and kept although nobody reads through it yet. */
  readonly adopting?: true;
  /** It is a copy on its way from another pool, and kept although nobody reads through it yet. */
  readonly incoming?: Incoming;
}

/** Where a copy comes from. */
export interface Incoming {
  /** The id of the move. */
  readonly move: string;
  /** The uuid of the pool. */
  readonly source: string;
  /** Layers of the source that are in it, one over the other, the uppermost last. */
  readonly from: readonly number[];
  /** The uppermost is in it as a whole. */
  readonly whole: boolean;
}

/** As stored under `R filling/<id>`, next to the volume's record. */
export interface FillingRecord {
  /** What lies before it has its space. */
  readonly fromBytes: number;
}

interface Counters {
  readonly nextVolume: number;
  readonly nextLayer: number;
  /** Of snapshots and bookmarks; absent before the first. */
  readonly nextSnapshot?: number;
}

const countersName = 'counters';

/** Ids for one batch; unused until it is durable. */
export class NewIds {
  #next: Required<Counters>;

  constructor(pool: Pool) {
    const known = pool.record<Counters>(countersName);
    this.#next = { nextVolume: 1, nextLayer: 1, nextSnapshot: 1, ...known };
  }

  volume(): number {
    return this.#take('nextVolume');
  }

  layer(): number {
    return this.#take('nextLayer');
  }

  snapshot(): number {
    return this.#take('nextSnapshot');
  }

  /** Must be in the batch that uses the ids. */
  op(): BatchOp {
    return putRecord(countersName, this.#next);
  }

  #take(counter: keyof Counters): number {
    const id = this.#next[counter];
    this.#next = { ...this.#next, [counter]: id + 1 };
    return id;
  }
}

export function volumeRecords(pool: Pool): readonly VolumeRecord[] {
  return pool.records<VolumeRecord>('volume/');
}

export function volumeById(pool: Pool, id: number): VolumeRecord | undefined {
  return pool.record<VolumeRecord>(`volume/${id}`);
}

/** Foreign disks that no layer points to. */
export function unreadForeignDisks(pool: Pool): number[] {
  const read = new Set(pool.records<LayerRecord>('layer/').map(({ foreign }) => foreign));
  const disks = pool.records<unknown>('disk/').filter(isForeign);
  return disks.map(({ number }) => number).filter((number) => !read.has(number));
}

export function volumeOp(volume: VolumeRecord): BatchOp {
  return putRecord(`volume/${volume.id}`, volume);
}

export function layerOp(layer: LayerRecord): BatchOp {
  return putRecord(layerName(layer.id), layer);
}

export function fillingName(volume: number): string {
  return `filling/${volume}`;
}

/** @returns undefined when the volume has all the space that it was promised */
export function fillingOf(pool: Pool, volume: number): FillingRecord | undefined {
  return pool.record<FillingRecord>(fillingName(volume));
}

export function fillingOp(volume: number, filling: FillingRecord): BatchOp {
  return putRecord(fillingName(volume), filling);
}

/** Nobody fills the volume any more. */
export function deleteFillingOps(pool: Pool, volume: number): BatchOp[] {
  return fillingOf(pool, volume) === undefined ? [] : [deleteRecord(fillingName(volume))];
}

/** The volume is no more; what its head holds is given back when nobody reads through it. */
export function deleteVolumeOp(volume: number): BatchOp {
  return deleteRecord(`volume/${volume}`);
}

export function layerName(layer: number): string {
  return `layer/${layer}`;
}

/** To be used when nothing is left in it. */
export function deleteLayerOp(layer: number): BatchOp {
  return deleteRecord(layerName(layer));
}

/** The bookmark (src/snapshot) marks a layer that is on its way out. */
export function deleteBookmarkOp(bookmark: number): BatchOp {
  return deleteRecord(`bookmark/${bookmark}`);
}
