/**
 * Reverting: a volume gets a new head on a snapshot's layer; what it was until then is named, unless it is to be discarded.
 *
 *   v (head 7) ─▶ 5 "v@tuesday" ─▶ 3 "v@monday"         v (head 8) ─▶ 3 "v@monday" ◀─ 5 "v@tuesday" ◀─ 7 "v@before-revert-…"
 */
import { isoTime } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { layerOp, NewIds, volumeOp } from '../volume/records.ts';
import type { SnapshotContext } from './context.ts';
import { isUnchangedSince } from './diff.ts';
import { exchangeHeads } from './freeze.ts';
import { expectLayersLeft, expectSnapshotsLeft } from './limits.ts';
import { bookmarkRecords, snapshotOp, snapshotRecords } from './records.ts';
import type { RevertOptions, RevertResult, SnapshotName, SnapshotRecord } from './types.ts';

/** Who is connected to a volume; told by the export layer. */
export interface Connections {
  clientsOf(volume: string): number;
  /** Closes their connections; they may come again. */
  disconnect(volume: string): Promise<number>;
}

/**
 * The volume becomes what it was; its size stays. What it is now is kept as a snapshot, unless it is to be discarded.
 * A volume that is what it was already stays as it is.
 *
 * Clients that are connected would see their disk change under them: refused, or with `force` their connections are closed first.
 *
 * @throws StorageError volume/not-found, snapshot/not-found, export/busy, snapshot/limit, pool/failed
 */
export async function revertVolume(
  context: SnapshotContext,
  connections: Connections,
  to: SnapshotName,
  options: RevertOptions,
): Promise<RevertResult> {
  const { volume, snapshot } = to;
  context.catalog.findSnapshot(volume, snapshot).pool.expectWritable();
  if (!options.force) expectNoClients(connections, volume, 'reverted');
  else if (!options.dryRun) await connections.disconnect(volume);
  return context.volumes.exclusively(context.volumes.poolsOf([volume]), () =>
    revert(context, to, options),
  );
}

/** @throws StorageError export/busy */
export function expectNoClients(connections: Connections, volume: string, verb: string): void {
  const clients = connections.clientsOf(volume);
  if (clients === 0) return;
  throw new StorageError(
    'export/busy',
    `volume ${volume} cannot be ${verb}: ${clients} clients are connected, whose disk would change under them`,
    {
      actions: [
        'shut the guest down, or detach the disk, then repeat',
        ...(verb === 'reverted' ? ['--force closes their connections first'] : []),
      ],
    },
  );
}

async function revert(
  context: SnapshotContext,
  { volume, snapshot }: SnapshotName,
  { discard, dryRun }: RevertOptions,
): Promise<RevertResult> {
  const { pool, record: target } = context.catalog.findSnapshot(volume, snapshot);
  const { record } = context.volumes.find(volume);
  context.volumes.expectFilled({ pool, record });
  if (await isUnchangedSince(context.catalog, { volume, from: snapshot })) {
    return { volume, safety: null, pauseSeconds: 0, changed: false };
  }
  const ids = new NewIds(pool);
  const createdAt = isoTime(context.clock);
  const safety = discard ? null : safetyOf({ pool, record }, ids.snapshot(), createdAt);
  expectLayersLeft(pool, 1);
  const result = { volume, safety: safety?.name ?? null, pauseSeconds: 0, changed: true };
  if (dryRun) return result;
  const head = ids.layer();
  const ops = [
    ids.op(),
    layerOp({ id: head, parent: target.layer }),
    volumeOp({ ...record, headLayer: head }),
    ...(safety === null ? [] : [snapshotOp(safety)]),
  ];
  const pauseSeconds = await exchangeHeads(pool, [{ volume: record, head, inherit: false }], ops);
  context.volumes.structureChanged(pool);
  context.tell('volume/reverted', volume, `volume ${volume} was reverted to ${volume}@${snapshot}`);
  return { ...result, pauseSeconds };
}

/** Names what the volume is now: `before-revert-20260131-235959`, in UTC. @throws StorageError snapshot/limit */
function safetyOf({ pool, record }: FoundVolume, id: number, createdAt: string): SnapshotRecord {
  expectSnapshotsLeft({ pool, record });
  const stamp = createdAt.slice(0, 19).replaceAll('-', '').replaceAll(':', '').replace('T', '-');
  const name = `before-revert-${stamp}`;
  const isTaken = [...snapshotRecords(pool), ...bookmarkRecords(pool)].some(
    (known) => known.volume === record.id && known.name === name,
  );
  return {
    id,
    uuid: newUuid(),
    volume: record.id,
    name: isTaken ? `${name}-${id}` : name,
    layer: record.headLayer,
    sizeBytes: record.sizeBytes,
    createdAt,
    consistency: 'crash',
    origin: 'revert',
  };
}
