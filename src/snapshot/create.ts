/**
 * Creating snapshots: the heads of volumes are frozen and named at one point in time, all of them or none.
 *
 *   looked at → guest frozen, when it is to be → looked at again, one batch → guest thawed → told
 *
 * Elsewhere: what is there already (repetition.ts), the moment in which writes are held (freeze.ts), the guest's freeze (guest-agent.ts),
 * how many there may be (limits.ts).
 */
import { isoTime } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import { expectName } from '../base/names.ts';
import type { Pool } from '../pool/pool.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { layerOp, NewIds, volumeOp } from '../volume/records.ts';
import type { VolumeRecord } from '../volume/types.ts';
import type { SnapshotContext } from './context.ts';
import { exchangeHeads } from './freeze.ts';
import { withFrozenGuest } from './guest-agent.ts';
import {
  expectDescription,
  expectFitsBatch,
  expectGroupSize,
  expectLayersLeft,
  expectSnapshotsLeft,
} from './limits.ts';
import { snapshotKey } from './open.ts';
import { deleteSnapshotOp, snapshotOp } from './records.ts';
import { findRepeated } from './repetition.ts';
import type {
  CreatedSnapshots,
  CreateSnapshotOptions,
  SnapshotInfo,
  SnapshotName,
  SnapshotRecord,
} from './types.ts';

const quiesceTimeoutSecondsDefault = 10;

interface Taken {
  readonly pool: Pool;
  readonly records: readonly SnapshotRecord[];
  /** False: they were there already. */
  readonly changed: boolean;
  readonly pauseSeconds: number;
}

/**
 * Freezes the heads of volumes at one point in time: every write answered before is in, none that comes after.
 *
 * What is there already, as it would be made now (repetition.ts), is left alone, and no guest is frozen for it.
 *
 * @returns no snapshots when a dry run would make them
 * @throws StorageError request/invalid, volume/not-found, volume/busy, snapshot/exists, snapshot/limit, snapshot/quiesce, pool/failed:
 *   none is made then
 */
export async function createSnapshots(
  context: SnapshotContext,
  options: CreateSnapshotOptions,
): Promise<CreatedSnapshots> {
  const { quiesceSocket: socket, dryRun = false } = options;
  const { volumes } = context;
  const scope = volumes.poolsOf(options.names.map(({ volume }) => volume));
  const take = (isDry: boolean) =>
    volumes.exclusively(scope, () => takeAll(context, { ...options, dryRun: isDry }));
  // A guest is not frozen for nothing; and since its agent may take its time, all is looked at once more then.
  let taken = await take(dryRun || socket !== undefined);
  if (taken.changed && !dryRun && socket !== undefined) {
    taken = await quiesced(context, { ...options, quiesceSocket: socket }, () => take(false));
  }
  const { pool, records, pauseSeconds } = taken;
  const snapshots = records.map(({ id }) => context.catalog.describeById(pool.name, id));
  if (taken.changed && !dryRun) tellTaken(context, pool, snapshots);
  return { snapshots, changed: taken.changed, pauseSeconds };
}

function tellTaken(context: SnapshotContext, pool: Pool, snapshots: readonly SnapshotInfo[]): void {
  context.volumes.structureChanged(pool);
  for (const { volume, name } of snapshots) {
    context.tell('snapshot/created', `${volume}@${name}`, `snapshot ${volume}@${name} was taken`);
  }
}

/** What was taken of a guest that was not frozen all the time is not what was asked for: it goes again. */
async function quiesced(
  context: SnapshotContext,
  options: CreateSnapshotOptions & { readonly quiesceSocket: string },
  take: () => Promise<Taken>,
): Promise<Taken> {
  const { quiesceSocket: socket, quiesceTimeoutSeconds = quiesceTimeoutSecondsDefault } = options;
  let taken: Taken | undefined;
  try {
    return await withFrozenGuest({ socket, timeoutMs: 1000 * quiesceTimeoutSeconds }, async () => {
      taken = await take();
      return taken;
    });
  } catch (error) {
    if (taken?.changed) await takeBack(context, taken);
    throw error;
  }
}

/** One that somebody reads already stays. */
async function takeBack({ volumes }: SnapshotContext, { pool, records }: Taken): Promise<void> {
  await volumes.exclusively(pool, () =>
    pool.holdOpenings(async () => {
      const unread = records.filter(({ id }) => pool.usersOf(snapshotKey(id)) === 0);
      if (unread.length > 0) await pool.commit(unread.map(({ id }) => deleteSnapshotOp(id)));
    }),
  );
  volumes.structureChanged(pool);
}

/** Within one turn. */
async function takeAll(context: SnapshotContext, options: CreateSnapshotOptions): Promise<Taken> {
  const { pool, found } = expectGroup(context, options);
  const known = await findRepeated(context, found, options);
  if (known !== undefined) return { pool, records: known, changed: false, pauseSeconds: 0 };
  for (const each of found) {
    context.volumes.expectFilled(each);
    expectSnapshotsLeft(each);
  }
  expectLayersLeft(pool, found.length);
  if (options.dryRun) return { pool, records: [], changed: true, pauseSeconds: 0 };
  const ids = new NewIds(pool);
  const volumes = found.map(({ record }) => record);
  const records = newRecords(volumes, ids, isoTime(context.clock), options);
  const heads = volumes.map((volume) => ({ volume, head: ids.layer(), inherit: true }));
  const ops = [
    ids.op(),
    ...heads.flatMap(({ volume, head }) => [
      layerOp({ id: head, parent: volume.headLayer }),
      volumeOp({ ...volume, headLayer: head }),
    ]),
    ...records.map(snapshotOp),
  ];
  expectFitsBatch(pool, ops, 'leave the attachment out, or take fewer together');
  const pauseSeconds = await exchangeHeads(pool, heads, ops);
  return { pool, records, changed: true, pauseSeconds };
}

/** The volumes, in the order of their names, which can have one point in time. */
function expectGroup(
  { volumes }: SnapshotContext,
  options: CreateSnapshotOptions,
): { readonly pool: Pool; readonly found: readonly FoundVolume[] } {
  expectDescription(options);
  expectGroupSize(options.names.length);
  const found = options.names.map(({ volume, snapshot }) => {
    expectName('snapshot', snapshot);
    return volumes.find(volume);
  });
  if (new Set(found.map(({ record }) => record.id)).size < found.length) {
    throw new StorageError('request/invalid', 'a group has one snapshot of each volume');
  }
  const [{ pool }] = found as [FoundVolume];
  if (found.some((each) => each.pool !== pool)) {
    throw new StorageError(
      'request/invalid',
      'volumes of different pools have no one point in time: a batch is of one pool',
      { actions: ['take the snapshots of each pool for themselves'] },
    );
  }
  pool.expectWritable();
  return { pool, found };
}

/** One for each volume, on its head. */
function newRecords(
  volumes: readonly VolumeRecord[],
  ids: NewIds,
  createdAt: string,
  { names, note, labels, attachment, origin, quiesceSocket }: CreateSnapshotOptions,
): SnapshotRecord[] {
  const group = names.length > 1 ? newUuid() : undefined;
  return volumes.map((volume, at) => ({
    id: ids.snapshot(),
    uuid: newUuid(),
    volume: volume.id,
    name: (names[at] as SnapshotName).snapshot,
    layer: volume.headLayer,
    sizeBytes: volume.sizeBytes,
    createdAt,
    consistency: quiesceSocket === undefined ? 'crash' : 'quiesced',
    ...(note === undefined ? {} : { note }),
    ...(labels === undefined ? {} : { labels }),
    ...(attachment === undefined ? {} : { attachment }),
    ...(group === undefined ? {} : { group }),
    ...(origin === undefined ? {} : { origin }),
  }));
}
