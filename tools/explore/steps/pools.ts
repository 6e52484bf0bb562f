/**
 * Pools as wholes: folded, let go and taken up again, and volumes that move from one to the other, there and back.
 */
import { allEnded } from '../../../src/base/all-ended.ts';
import { StorageError } from '../../../src/base/errors.ts';
import { LayerTree } from '../../../src/volume/layer-tree.ts';
import { type LiveVolume, roomKeptBytes, type World } from '../world.ts';
import { batch } from './io.ts';
import { unwatched } from './members.ts';

/** A window that nobody lives to see the end of. */
const keepSeconds = 3600;

/** As if the pool had been idle: the host's index has everything. */
export async function fold(world: World): Promise<void> {
  const pool = world.random.pick(world.pools.all());
  await world.timeline.during('index fold', async () => pool?.index.fold());
}

/** The pool is closed, with a checkpoint, and its disks are imported again. */
export async function exportAndImport(world: World): Promise<void> {
  const { pools, random, timeline } = world;
  const name = random.pick(world.poolNames) as string;
  const pool = pools.get(name);
  const inUse = world.live.filter((volume) => world.poolOf(volume) === pool);
  const disks = pool.disks.map(({ location }) => location.uri);
  for (const volume of inUse) await volume.open.close();
  await timeline.during('pool export', () => pools.export(name));
  await timeline.during('pool import', () => pools.import(disks));
  await world.reopen(inUse);
  await timeline.during('moves settle', () => world.moves.settle());
}

/** A volume and everything it shares layers with moves to the other pool, or back; half of the time it is written to until the switch. */
export async function moveToOtherPool(world: World): Promise<void> {
  const volume = world.pickVolume();
  const target = volume && world.pools.all().find((pool) => pool !== world.poolOf(volume));
  if (volume === undefined || target === undefined) return;
  if (world.room(target) < 2 * roomKeptBytes) return;
  const isBack = await canBeUndone(world, volume);
  const undo = isBack && world.random.chance(2);
  if (isBack && !undo) await finish(world, volume);
  await whileInUse(world, familyOf(world, volume), (setPhase) =>
    world.timeline.during(undo ? 'pool move, undo' : 'pool move', () =>
      world.moves.move(
        volume.life.name,
        { to: target.name, keepSeconds: world.random.chance(2) ? keepSeconds : 0, undo },
        { ...unwatched, setPhase },
      ),
    ),
  );
  if (world.random.chance(2)) await finish(world, volume);
}

/** Requests are in flight meanwhile; those of the family end when the move waits for them. */
async function whileInUse(
  world: World,
  family: readonly LiveVolume[],
  move: (setPhase: (phase: string) => void) => Promise<void>,
): Promise<void> {
  const isWritten = world.random.chance(2);
  const close = () => world.closeVolumes(family);
  if (!isWritten) await close();
  const written = world.live.filter((volume) => isWritten || !family.includes(volume));
  const requests = batch(world, written);
  let closed: Promise<void> | undefined;
  const setPhase = (phase: string) => {
    if (isWritten && phase.startsWith('waiting')) closed ??= requests.then(close, close);
  };
  await allEnded([requests, move(setPhase).finally(() => closed)]);
  await world.reopen(family);
}

function familyOf(world: World, volume: LiveVolume): LiveVolume[] {
  const { pool, record } = world.volumes.find(volume.life.name);
  const { volumes } = LayerTree.of(pool).familyOf(record.id);
  return world.live.filter((other) => {
    const found = world.volumes.find(other.life.name);
    return found.pool === pool && volumes.has(found.record.id);
  });
}

async function canBeUndone(world: World, { life }: LiveVolume): Promise<boolean> {
  try {
    await world.moves.planUndo(life.name);
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === 'op/state') return false;
    throw error;
  }
}

/** What the source kept is given back. */
async function finish({ moves, timeline }: World, { life }: LiveVolume): Promise<void> {
  await timeline.during('pool move, finish', () => moves.finish(life.name));
}
