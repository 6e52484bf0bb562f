/**
 * The pool's own records in its index, and how records get into batches.
 *
 *   pool          PoolRecord        disk/<number>   DiskRecord
 */
import type { Placement } from './allocator.ts';
import type { PoolDisk } from './disk-set.ts';
import type { BatchOp } from './format/batch.ts';
import { recordKey } from './format/index-keys.ts';
import { encodeJson } from './pool-state.ts';

/** `R pool`. */
export interface PoolRecord {
  readonly createdAt: string;
  /** How long a disk may fail before its requests do; absent: the default. */
  readonly patienceSeconds?: number;
}

/** `R disk/<number>`. */
export interface DiskRecord {
  readonly number: number;
  readonly uuid: string;
  /** Where it was when it was added: helps to find it, nothing more. */
  readonly uri: string;
  /** See Placement; absent: none, and not cordoned. */
  readonly class?: string;
  readonly cordoned?: true;
}

/** The put of a record. */
export function putRecord(name: string, value: unknown): BatchOp {
  return { op: 'put', key: recordKey(name), value: encodeJson(value) };
}

export function deleteRecord(name: string): BatchOp {
  return { op: 'delete', key: recordKey(name) };
}

export function diskRecordName(number: number): string {
  return `disk/${number}`;
}

export function diskRecordOp(
  { label, location }: Pick<PoolDisk, 'label' | 'location'>,
  placement?: Placement,
): BatchOp {
  const { diskNumber: number, diskUuid: uuid } = label;
  const record: DiskRecord = {
    number,
    uuid,
    uri: location.uri,
    ...(placement?.class ? { class: placement.class } : {}),
    ...(placement?.cordoned ? { cordoned: true } : {}),
  };
  return putRecord(diskRecordName(number), record);
}

export function placementOf(record: DiskRecord | undefined): Placement {
  return { class: record?.class ?? null, cordoned: record?.cordoned ?? false };
}
