/**
 * Where exports are remembered: a record `export/<name>` in the pool of their volume.
 *
 * They travel with the pool: imported on another host, it serves the same exports.
 */
import type { BatchOp } from '../pool/format/batch.ts';
import { deleteRecord, putRecord } from '../pool/pool-records.ts';
import type { PoolInfo } from '../pool/types.ts';
import type { ExportRecord } from './types.ts';

const prefix = 'export/';

/** What a pool must offer to remember exports. */
export interface RecordPool {
  info(): PoolInfo;
  /** The records whose names begin so. */
  records<T>(prefix: `${string}/`): readonly T[];
  /** Durable when it resolves. */
  commit(operations: readonly BatchOp[]): Promise<number>;
}

export function storedExports(pool: RecordPool): readonly ExportRecord[] {
  return pool.records<ExportRecord>(prefix);
}

export async function storeExport(pool: RecordPool, record: ExportRecord): Promise<void> {
  await pool.commit([putRecord(prefix + record.name, record)]);
}

export async function forgetExport(pool: RecordPool, name: string): Promise<void> {
  await pool.commit([deleteRecord(prefix + name)]);
}
