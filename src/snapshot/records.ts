/**
 * The snapshot layer's records in a pool's index.
 *
 *   snapshot/<id>   SnapshotRecord     bookmark/<id>   BookmarkRecord     schedule/<volume id>   ScheduleRecord
 */
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import { deleteRecord, putRecord } from '../pool/pool-records.ts';
import type { BookmarkRecord, ScheduleRecord, SnapshotRecord } from './types.ts';

export function snapshotRecords(pool: Pool): readonly SnapshotRecord[] {
  return pool.records<SnapshotRecord>('snapshot/');
}

export function snapshotById(pool: Pool, id: number): SnapshotRecord | undefined {
  return pool.record<SnapshotRecord>(`snapshot/${id}`);
}

export function bookmarkRecords(pool: Pool): readonly BookmarkRecord[] {
  return pool.records<BookmarkRecord>('bookmark/');
}

export function scheduleRecords(pool: Pool): readonly ScheduleRecord[] {
  return pool.records<ScheduleRecord>('schedule/');
}

export function snapshotOp(snapshot: SnapshotRecord): BatchOp {
  return putRecord(`snapshot/${snapshot.id}`, snapshot);
}

export function deleteSnapshotOp(id: number): BatchOp {
  return deleteRecord(`snapshot/${id}`);
}

export function bookmarkOp(bookmark: BookmarkRecord): BatchOp {
  return putRecord(`bookmark/${bookmark.id}`, bookmark);
}

export function scheduleOf(pool: Pool, volume: number): ScheduleRecord | undefined {
  return pool.record<ScheduleRecord>(`schedule/${volume}`);
}

export function scheduleOp(schedule: ScheduleRecord): BatchOp {
  return putRecord(`schedule/${schedule.volume}`, schedule);
}

export function deleteScheduleOp(volume: number): BatchOp {
  return deleteRecord(`schedule/${volume}`);
}
