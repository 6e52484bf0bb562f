/**
 * A pool that begins to be served while the service runs: it was imported, or can be opened at last.
 *
 * Volumes that were on their way from or to it are found to be in one pool; then what is here is served.
 */
import type { RecordPool } from '../export/export-store.ts';
import type { ApiServices } from './ports.ts';

export async function arrived(
  services: Pick<ApiServices, 'exports' | 'operations' | 'poolMoves' | 'pools'>,
  name: string,
): Promise<void> {
  const { exports, operations, poolMoves, pools } = services;
  const changed = await poolMoves.settle();
  await poolMoves.dropAbandoned((volume) => operations.find('volume-move', volume) !== undefined);
  const isMeant = (pool: RecordPool) => [name, ...changed].includes(pool.info().name);
  for (const pool of pools.all().filter(isMeant)) await exports.restore(pool);
}
