/**
 * Volumes that are made, grow, get another name, change the way they are snapshotted, and go.
 */
import { KiB } from '../../../src/base/units.ts';
import { VolumeModel } from '../durability-model.ts';
import { beginning, type VolumeLife } from '../promises.ts';
import type { World } from '../world.ts';

/** The largest ones reach over the edge of a leaf (64 slots of 16 KiB). */
const sizes = [64 * KiB, 192 * KiB, 576 * KiB, 1088 * KiB, 1536 * KiB];
const sizeBytesMax = 2048 * KiB;

export async function create(world: World): Promise<void> {
  const { random, timeline, volumes } = world;
  const id = world.lives.length + 1;
  const sizeBytes = random.pick(sizes) as number;
  const life: VolumeLife = {
    name: `v${id}`,
    model: new VolumeModel(id, sizeBytes),
    ...beginning(timeline.now()),
  };
  world.lives.push(life);
  const how = {
    pool: random.pick(world.poolNames) as string,
    snapshotMode: random.chance(3) ? ('cow' as const) : ('row' as const),
    thick: random.chance(5),
  };
  const operation = how.thick ? 'volume create, thick' : 'volume create';
  await timeline.during(operation, () => volumes.create({ name: life.name, sizeBytes, ...how }));
  life.created = timeline.promised();
  await world.openVolume(life);
}

export async function remove(world: World): Promise<void> {
  const { timeline, volumes } = world;
  const gone = world.pickVolume();
  if (gone === undefined) return;
  await world.retire(gone);
  const { name } = gone.life;
  const all = [gone.life, ...world.snapshotsOf(name)];
  const begun = timeline.now();
  for (const each of all) each.deleteBegun = begun;
  const options = { withSnapshots: true, keepClones: true };
  await timeline.during('volume delete', () => volumes.delete(name, options));
  const ended = timeline.promised();
  for (const each of all) each.deleted = ended;
}

/** What is new reads as zero. */
export async function resize(world: World): Promise<void> {
  const { random, timeline, volumes } = world;
  const volume = world.pickVolume();
  if (volume === undefined) return;
  const { model, name } = volume.life;
  const sizeBytes = model.sizeBytes + (1 + random.below(3)) * 96 * KiB;
  if (sizeBytes > sizeBytesMax) return;
  const growth = model.grow(sizeBytes, timeline.now());
  await timeline.during('volume resize', () => volumes.resize(name, sizeBytes));
  growth.durable = timeline.promised();
}

export async function changeMode(world: World): Promise<void> {
  const { random, timeline, snapshots } = world;
  const volume = world.pickVolume();
  if (volume === undefined) return;
  const mode = random.chance(2) ? 'cow' : 'row';
  await timeline.during('volume set', () => snapshots.setMode(volume.life.name, mode));
}
