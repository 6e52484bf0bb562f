/**
 * Disks of the first pool that join, leave, are emptied, closed for new data and opened again, while requests are in flight or the tree changes.
 */
import { StorageError } from '../../../src/base/errors.ts';
import { clusterBytes, roomKeptBytes, type World } from '../world.ts';
import { batch } from './io.ts';
import { race } from './snapshots.ts';

/** Nobody pauses or limits the movement, or looks how far it is. */
export const unwatched = { report() {}, whileRunning: async () => {} };

export async function changeMembers(world: World): Promise<void> {
  const change = world.random.chance(2) ? removeDisk(world) : addDisk(world);
  await Promise.all([change, batch(world)]);
}

/** Half of them get no data: they can leave again. */
async function addDisk(world: World): Promise<void> {
  const { pools, timeline, random } = world;
  const uri = world.spares.pop();
  if (uri === undefined) return;
  const { number } = await timeline.during('disk add', () =>
    pools.addDisk('life', uri, { force: true }),
  );
  if (random.chance(2)) return;
  await cordon(world, number, true);
}

async function removeDisk(world: World): Promise<void> {
  const { pools, timeline, random, pool } = world;
  const empty = pool.info().disks.filter(({ number }) => pool.occupancy(number).owned === 0);
  const disk = random.pick(empty);
  if (disk === undefined || pool.disks.length === 1) return;
  try {
    await timeline.during('disk remove', () => pools.removeDisk('life', disk.number));
    world.spares.push(disk.uri);
  } catch (error) {
    // What is written meanwhile may have got there first.
    if (!(error instanceof StorageError) || error.code !== 'disk/not-empty') throw error;
  }
}

/** A disk is emptied while requests are in flight, or while the tree changes. */
export async function drainDisk(world: World): Promise<void> {
  const { pool, random, timeline, migration } = world;
  const disk = random.pick(pool.info().disks.filter(({ cordoned }) => !cordoned));
  if (disk === undefined || !hasRoomBeside(world, disk.number)) return;
  const { number } = disk;
  const other = random.chance(2) ? batch(world) : race(world);
  const drained = timeline.during('disk drain', () =>
    migration.drain({ pool: 'life', number }, unwatched),
  );
  await Promise.all([drained, other]);
  // Half of them can leave the pool next.
  if (random.chance(2)) await cordon(world, number, false);
}

function hasRoomBeside({ pool }: World, number: number): boolean {
  const { owned, roomBeside } = pool.occupancy(number);
  return 2 * owned + roomKeptBytes / clusterBytes <= roomBeside;
}

export async function rebalance(world: World): Promise<void> {
  const { timeline, migration } = world;
  const balanced = timeline.during('pool rebalance', () => migration.rebalance('life', unwatched));
  await Promise.all([balanced, batch(world)]);
}

/** As an operator does who runs out of space. */
export async function uncordonAll(world: World): Promise<void> {
  const cordoned = world.pool.info().disks.filter((disk) => disk.cordoned);
  for (const { number } of cordoned) await cordon(world, number, false);
}

async function cordon({ pool, timeline }: World, number: number, cordoned: boolean): Promise<void> {
  const operation = cordoned ? 'disk cordon' : 'disk uncordon';
  await timeline.during(operation, () => pool.placeDisk(number, { class: null, cordoned }));
}
