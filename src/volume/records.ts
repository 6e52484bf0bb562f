/**
 * The volume layer's records in a pool's index.
 *
 *   volume/<id>    VolumeRecord       layer/<id>   LayerRecord      counters   the next ids; none is ever used twice
 *   filling/<id>   FillingRecord      of a thick volume that does not have all of its space yet
 */
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import { deleteRecord, putRecord } from '../pool/pool-records.ts';
import type { VolumeRecord } from './types.ts';

/** As stored under `R layer/<id>`. */
export interface LayerRecord {
  readonly id: number;
  /** The layer that holes read through to; null: they read as zero. */
  readonly parent: number | null;
}

/** As stored under `R filling/<id>`, next to the volume's record. */
export interface FillingRecord {
  /** What lies before it has its space. */
  readonly fromBytes: number;
}

interface Counters {
  readonly nextVolume: number;
  readonly nextLayer: number;
}

const countersName = 'counters';

export interface NewIds {
  readonly volume: number;
  readonly layer: number;
  /** Must be in the batch that uses the ids. */
  readonly op: BatchOp;
}

/** Ids for a volume and its head layer; unused until the batch with `op` is durable. */
export function newIds(pool: Pool): NewIds {
  const { nextVolume, nextLayer } = pool.record<Counters>(countersName) ?? {
    nextVolume: 1,
    nextLayer: 1,
  };
  const counters: Counters = { nextVolume: nextVolume + 1, nextLayer: nextLayer + 1 };
  return { volume: nextVolume, layer: nextLayer, op: putRecord(countersName, counters) };
}

export function volumeRecords(pool: Pool): readonly VolumeRecord[] {
  return pool.records<VolumeRecord>('volume/');
}

export function volumeOp(volume: VolumeRecord): BatchOp {
  return putRecord(`volume/${volume.id}`, volume);
}

export function layerOp(layer: LayerRecord): BatchOp {
  return putRecord(`layer/${layer.id}`, layer);
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

/** A volume and its head are no more; to be used when nothing is left in them. */
export function forgetVolumeOps(volume: VolumeRecord): BatchOp[] {
  return [deleteRecord(`volume/${volume.id}`), deleteRecord(`layer/${volume.headLayer}`)];
}
