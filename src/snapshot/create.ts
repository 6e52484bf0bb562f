/**
 * Creating snapshots: the heads of volumes are frozen and named at one point in time, all of them or none.
 *
 *   looked at → guest frozen, when it is to be → looked at again, one batch (freeze.ts) → guest thawed → told
 *
 * Elsewhere: the moment in which writes are held (freeze.ts), the guest's freeze (guest-agent.ts), numbers and sizes (limits.ts).
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
import { deleteSnapshotOp, snapshotOp } from './records.ts';
import type {
  CreatedSnapshots,
  CreateSnapshotOptions,
  SnapshotName,
  SnapshotRecord,
} from './types.ts';

const quiesceTimeoutSecondsDefault = 10;

/** What is to be frozen together. */
interface Group {
  readonly pool: Pool;
  readonly volumes: readonly VolumeRecord[];
}

interface Taken {
  readonly pool: Pool;
  readonly records: readonly SnapshotRecord[];
  readonly pauseSeconds: number;
}

/**
 * Freezes the heads of volumes at one point in time: every write answered before is in, none that comes after.
 *
 * @throws StorageError request/invalid, volume/not-found, volume/busy, snapshot/exists, snapshot/limit, snapshot/quiesce, pool/failed:
 *   none is made then
 */
export async function createSnapshots(
  context: SnapshotContext,
  options: CreateSnapshotOptions,
): Promise<CreatedSnapshots> {
  expectCreatable(context, options);
  if (options.dryRun) return { snapshots: [], changed: true, pauseSeconds: 0 };
  const take = () => context.volumes.exclusively(() => takeAll(context, options));
  const { records, pool, pauseSeconds } = await quiesced(context, options, take);
  context.volumes.structureChanged(pool);
  const snapshots = records.map(({ id }) => context.catalog.describeById(pool.name, id));
  for (const { volume, name } of snapshots) {
    context.tell('snapshot/created', `${volume}@${name}`, `snapshot ${volume}@${name} was taken`);
  }
  return { snapshots, changed: true, pauseSeconds };
}

function expectCreatable(context: SnapshotContext, options: CreateSnapshotOptions): Group {
  const { names } = options;
  expectDescription(options);
  expectGroupSize(names.length);
  const found = names.map(({ volume, snapshot }) => {
    expectName('snapshot', snapshot);
    const each = context.volumes.find(volume);
    each.pool.expectOnline();
    context.volumes.expectFilled(each);
    context.catalog.expectFree(each, snapshot);
    expectSnapshotsLeft(each);
    return each;
  });
  const pool = poolOf(found);
  expectLayersLeft(pool, found.length);
  return { pool, volumes: found.map(({ record }) => record) };
}

/** The one pool of volumes that have one point in time. @throws StorageError request/invalid they have none */
function poolOf(found: readonly FoundVolume[]): Pool {
  if (new Set(found.map(({ record }) => record.id)).size < found.length) {
    throw new StorageError('request/invalid', 'a group has one snapshot of each volume');
  }
  const [pool, ...others] = new Set(found.map((each) => each.pool));
  if (pool !== undefined && others.length === 0) return pool;
  throw new StorageError(
    'request/invalid',
    'volumes of different pools have no one point in time: a batch is of one pool',
    { actions: ['take the snapshots of each pool for themselves'] },
  );
}

/** What was taken of a guest that was not frozen all the time is not what was asked for: it goes again. */
async function quiesced(
  { volumes }: SnapshotContext,
  { quiesceSocket: socket, quiesceTimeoutSeconds }: CreateSnapshotOptions,
  take: () => Promise<Taken>,
): Promise<Taken> {
  if (socket === undefined) return take();
  const timeoutMs = 1000 * (quiesceTimeoutSeconds ?? quiesceTimeoutSecondsDefault);
  let taken: Taken | undefined;
  try {
    return await withFrozenGuest({ socket, timeoutMs }, async () => {
      taken = await take();
      return taken;
    });
  } catch (error) {
    if (taken !== undefined) {
      await taken.pool.commit(taken.records.map(({ id }) => deleteSnapshotOp(id)));
      volumes.structureChanged(taken.pool);
    }
    throw error;
  }
}

/** Within the turn everything is looked at once more: a guest's agent may have taken its time. */
async function takeAll(context: SnapshotContext, options: CreateSnapshotOptions): Promise<Taken> {
  const { pool, volumes } = expectCreatable(context, options);
  const ids = new NewIds(pool);
  const { note, labels, attachment, origin, names, quiesceSocket } = options;
  const group = names.length > 1 ? newUuid() : undefined;
  const records = volumes.map(
    (volume, at): SnapshotRecord => ({
      id: ids.snapshot(),
      volume: volume.id,
      name: (names[at] as SnapshotName).snapshot,
      layer: volume.headLayer,
      sizeBytes: volume.sizeBytes,
      createdAt: isoTime(context.clock),
      consistency: quiesceSocket === undefined ? 'crash' : 'quiesced',
      ...(note === undefined ? {} : { note }),
      ...(labels === undefined ? {} : { labels }),
      ...(attachment === undefined ? {} : { attachment }),
      ...(group === undefined ? {} : { group }),
      ...(origin === undefined ? {} : { origin }),
    }),
  );
  const heads = volumes.map((volume) => ({ volume, head: ids.layer(), inherit: true }));
  const ops = [
    ids.op(),
    ...heads.flatMap(({ volume, head }) => [
      layerOp({ id: head, parent: volume.headLayer }),
      volumeOp({ ...volume, headLayer: head }),
    ]),
    ...records.map(snapshotOp),
  ];
  expectFitsBatch(pool, ops);
  const pauseSeconds = await exchangeHeads(pool, heads, ops);
  return { records, pool, pauseSeconds };
}
