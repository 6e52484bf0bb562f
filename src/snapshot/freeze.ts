/**
 * A moment in which no write of some volumes is on its way: their heads may be frozen, or exchanged, in one batch.
 *
 *   everything so far durable → openings held → writes held → those under way have ended → one batch → heads exchanged → writes go on
 *
 * What must hold at that moment can be looked at once more in it, before the batch.
 *
 * The batch closes the round that makes the last writes durable, so that what is frozen is. Whatever fails, writes go on. Nothing is opened meanwhile: whoever
 * opened a volume between the look at what is open and the batch would write into what is frozen.
 */
import { StorageError } from '../base/errors.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import { volumeKey } from '../volume/chain.ts';
import type { VolumeRecord } from '../volume/types.ts';

/** Writes that take longer have something wrong with them; guests are not to wait for it. */
const holdMsMax = 10_000;

export interface HeadExchange {
  readonly volume: VolumeRecord;
  readonly head: number;
  /** What the old head owned is inherited; otherwise the new head shows something else altogether. */
  readonly inherit: boolean;
}

/**
 * @param whileHeld looks whether the exchange may be made still; opens and closes nothing
 * @returns how long writes were held, in seconds
 * @throws StorageError volume/busy writes under way do not end; pool/failed; what `whileHeld` throws
 */
export async function exchangeHeads(
  pool: Pool,
  exchanges: readonly HeadExchange[],
  ops: readonly BatchOp[],
  whileHeld?: () => Promise<void>,
): Promise<number> {
  // So that writes are not held for the sync of everything.
  if (exchanges.some(({ volume }) => pool.isVolumeOpen(volumeKey(volume.id)))) await pool.flush();
  return pool.holdOpenings(() => exchangeHeldHeads(pool, exchanges, ops, whileHeld));
}

/** The same by whoever holds the pool's openings already. */
export async function exchangeHeldHeads(
  pool: Pool,
  exchanges: readonly HeadExchange[],
  ops: readonly BatchOp[],
  whileHeld: () => Promise<void> = async () => {},
): Promise<number> {
  const open = exchanges.flatMap((exchange) => {
    const plane = pool.planeOf(volumeKey(exchange.volume.id));
    return plane === undefined ? [] : [{ ...exchange, plane }];
  });
  const began = performance.now();
  try {
    await withDeadline(open.map(({ plane }) => plane));
    await whileHeld();
    await pool.commit(ops);
    for (const { plane, head, inherit } of open) plane.swapHead(head, { inherit });
  } finally {
    for (const { plane } of open) plane.resume();
  }
  return open.length === 0 ? 0 : (performance.now() - began) / 1000;
}

async function withDeadline(planes: readonly VolumePlane[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const refuse = () =>
      reject(new StorageError('volume/busy', `writes under way have not ended in ${holdMsMax} ms`));
    timer = setTimeout(refuse, holdMsMax);
  });
  try {
    await Promise.race([Promise.all(planes.map((plane) => plane.hold())), late]);
  } finally {
    clearTimeout(timer);
  }
}
