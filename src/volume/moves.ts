/**
 * Records of volumes that move from one pool to another (docs/format.md section 9, docs/adr/0006).
 *
 *   in the source   move/<id>      under way; from `switching` on it is the target that knows whose the volumes are
 *                   kept/<id>      they have left; their layers stay for a while, so that the move can be undone
 *   in the target   layer/<id>     with `incoming`: a copy that nobody shows yet
 *                   arrival/<id>   written together with the volumes themselves: they are the target's
 *
 * A move has one id in both pools.
 */
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import { deleteRecord, putRecord } from '../pool/pool-records.ts';

/** A pool as another one knows it. */
export interface PoolRef {
  readonly uuid: string;
  readonly name: string;
}

/** What leaves the source, decided before it does. */
export interface Leaving {
  readonly volumes: readonly number[];
  readonly names: readonly string[];
  /** Layers of the source and what shows the same in the target. */
  readonly pairs: readonly (readonly [source: number, target: number])[];
  /** Of the source. */
  readonly layers: readonly number[];
  /** Until when the layers are kept; null: not at all. */
  readonly until: string | null;
}

export interface MoveRecord {
  readonly id: string;
  /** The volume that was asked for; its family moves with it. */
  readonly volume: number;
  readonly target: PoolRef;
  /** The move to this pool that is being undone. */
  readonly undoes?: string;
  readonly switching?: Leaving;
}

export interface KeptRecord extends Pick<Leaving, 'names' | 'pairs' | 'layers'> {
  readonly id: string;
  readonly target: PoolRef;
  readonly until: string;
}

export interface ArrivalRecord {
  readonly id: string;
  readonly source: PoolRef;
  /** As they are here. */
  readonly volumes: readonly number[];
  /** Of this pool: each stays what it is as long as the source keeps the same. */
  readonly layers: readonly number[];
  readonly until: string | null;
}

export function moveRecords(pool: Pool): readonly MoveRecord[] {
  return pool.records<MoveRecord>('move/');
}

export function keptRecords(pool: Pool): readonly KeptRecord[] {
  return pool.records<KeptRecord>('kept/');
}

export function arrivalRecords(pool: Pool): readonly ArrivalRecord[] {
  return pool.records<ArrivalRecord>('arrival/');
}

/** The other pool's, perhaps: what opens it here would read, or write, what is given up. */
export function isLeaving(pool: Pool, volume: number): boolean {
  return moveRecords(pool).some(({ switching }) => switching?.volumes.includes(volume));
}

export function moveById(pool: Pool, id: string): MoveRecord | undefined {
  return pool.record<MoveRecord>(`move/${id}`);
}

export function keptById(pool: Pool, id: string): KeptRecord | undefined {
  return pool.record<KeptRecord>(`kept/${id}`);
}

export function arrivalById(pool: Pool, id: string): ArrivalRecord | undefined {
  return pool.record<ArrivalRecord>(`arrival/${id}`);
}

export function moveOp(move: MoveRecord): BatchOp {
  return putRecord(`move/${move.id}`, move);
}

export function keptOp(kept: KeptRecord): BatchOp {
  return putRecord(`kept/${kept.id}`, kept);
}

export function arrivalOp(arrival: ArrivalRecord): BatchOp {
  return putRecord(`arrival/${arrival.id}`, arrival);
}

export function deleteMoveOp(id: string): BatchOp {
  return deleteRecord(`move/${id}`);
}

export function deleteKeptOp(id: string): BatchOp {
  return deleteRecord(`kept/${id}`);
}

export function deleteArrivalOp(id: string): BatchOp {
  return deleteRecord(`arrival/${id}`);
}
