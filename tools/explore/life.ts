/**
 * A seeded life of one or two pools on recorded disks: steps of steps/*.ts, chosen by weight. What each moment promised is kept by its world.
 */
import { imageViolations } from './durability-model.ts';
import { ImageBytes, sectorBytes } from './sectors.ts';
import { idle } from './steps/idle.ts';
import { batch } from './steps/io.ts';
import { changeMembers, drainDisk, rebalance, uncordonAll } from './steps/members.ts';
import { exportAndImport, fold, moveToOtherPool } from './steps/pools.ts';
import * as snapshots from './steps/snapshots.ts';
import * as volumes from './steps/volumes.ts';
import { roomKeptBytes, volumesMax, type World } from './world.ts';

type Step = (world: World) => Promise<void>;

const steps: readonly (readonly [weight: number, step: Step])[] = [
  [30, batch],
  [3, idle],
  [8, snapshots.take],
  [6, snapshots.clone],
  [4, snapshots.revert],
  [6, snapshots.remove],
  [8, snapshots.race],
  [2, snapshots.flatten],
  [6, createIfFew],
  [2, volumes.remove],
  [4, volumes.resize],
  [2, volumes.changeMode],
  [8, changeMembers],
  [6, drainDisk],
  [2, rebalance],
  [4, fold],
  [3, exportAndImport],
  [8, moveToOtherPool],
];
const weights = steps.reduce((sum, [weight]) => sum + weight, 0);

export async function step(world: World): Promise<void> {
  const tight = world.pools.all().some((pool) => world.room(pool) < roomKeptBytes);
  if (tight) return makeRoom(world);
  if (world.live.length === 0) return volumes.create(world);
  await choose(world)(world);
}

function choose({ random }: World): Step {
  let left = random.below(weights);
  for (const [weight, chosen] of steps) {
    left -= weight;
    if (left < 0) return chosen;
  }
  return batch;
}

async function createIfFew(world: World): Promise<void> {
  if (world.live.length < volumesMax) await volumes.create(world);
}

async function makeRoom(world: World): Promise<void> {
  await uncordonAll(world);
  if (world.room(world.pool) < roomKeptBytes || world.random.chance(2)) await volumes.remove(world);
}

/** What is shown now, by open volumes and by snapshots, and is not what was written; a sentence for each. */
export async function misshown(world: World): Promise<string[]> {
  const found: string[] = [];
  for (const { life, open } of world.live) {
    const shown = await open.plane.read(0, life.model.sizeBytes);
    const wrong = imageViolations(life.model.image(), new ImageBytes(shown));
    found.push(...wrong.map((sentence) => `live volume ${life.name} ${sentence}`));
  }
  for (const snapshot of world.allSnapshots) {
    const { pool, id } = world.snapshots.get(snapshot.volume, snapshot.name);
    const open = await world.snapshots.open(pool, id);
    const shown = await open.plane.read(0, snapshot.image.length * sectorBytes);
    await open.close();
    const where = `live snapshot ${snapshot.volume}@${snapshot.name}`;
    const wrong = imageViolations(snapshot.image, new ImageBytes(shown));
    found.push(...wrong.map((sentence) => `${where} ${sentence}`));
  }
  return found;
}
