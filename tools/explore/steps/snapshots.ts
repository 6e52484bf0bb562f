/**
 * Snapshots, groups of them, clones, reverts, deletions in any order, flattening; and what races with the merging of layers that lost their names.
 */
import { VolumeModel } from '../durability-model.ts';
import { beginning, type SnapshotLife, type VolumeLife } from '../promises.ts';
import { sectorBytes } from '../sectors.ts';
import { volumesMax, type World } from '../world.ts';

/** Of one volume, or of all of its pool at one point in time. Everything written before is durable with it. */
export async function take(world: World): Promise<void> {
  const { random, timeline, snapshots } = world;
  const one = world.pickVolume();
  if (one === undefined) return;
  const pool = world.poolOf(one);
  const group = world.live.filter((volume) => world.poolOf(volume) === pool);
  const volumes = random.chance(3) ? group : [one];
  const name = `s${world.snapshotLives.length + 1}`;
  const taken = volumes.map(({ life }) => frozen(world, life, name));
  const covered = volumes.map(({ life }) => life.model.beginFlush());
  const names = volumes.map(({ life }) => ({ volume: life.name, snapshot: name }));
  const operation = names.length > 1 ? 'snapshot create, group' : 'snapshot create';
  await timeline.during(operation, () => snapshots.create({ names }));
  const ended = timeline.promised();
  for (const each of taken) each.created = ended;
  for (const [at, { life }] of volumes.entries()) life.model.flushed(covered[at] ?? [], ended);
}

function frozen(world: World, { name: volume, model }: VolumeLife, name: string): SnapshotLife {
  const image = model.image();
  const moments = beginning(world.timeline.now());
  const life: SnapshotLife = { volume, name, image, group: name, ...moments };
  world.snapshotLives.push(life);
  return life;
}

export async function clone(world: World): Promise<void> {
  const { random, timeline, snapshots } = world;
  if (world.live.length > volumesMax) return;
  const source = random.pick(world.allSnapshots);
  if (source === undefined) return;
  const id = world.lives.length + 1;
  const life: VolumeLife = {
    name: `v${id}`,
    model: new VolumeModel(id, source.image.length * sectorBytes, source.image),
    ...beginning(timeline.now()),
  };
  world.lives.push(life);
  const from = { volume: source.volume, snapshot: source.name };
  await timeline.during('snapshot clone', () => snapshots.clone(from, life.name));
  life.created = timeline.promised();
  await world.openVolume(life);
}

export async function revert(world: World): Promise<void> {
  const { random, timeline, snapshots } = world;
  const volume = world.pickVolume();
  const to = random.pick(world.snapshotsOf(volume?.life.name ?? ''));
  if (volume === undefined || to === undefined) return;
  const { name, model } = volume.life;
  const before = model.image();
  const begun = timeline.now();
  const covered = model.beginFlush();
  const changes = model.become(to.image, begun);
  const discard = random.chance(2);
  const { safety } = await timeline.during('snapshot revert', () =>
    snapshots.revert(name, to.name, { discard }),
  );
  const ended = timeline.promised();
  model.flushed([...covered, ...changes], ended);
  if (safety === null) return;
  const kept = { volume: name, name: safety, image: before, ...beginning(begun) };
  world.snapshotLives.push({ ...kept, created: ended });
}

/** Its layer is merged with another one, in the background. */
export async function remove(world: World): Promise<void> {
  const { random, timeline, snapshots } = world;
  const gone = random.pick(world.allSnapshots);
  if (gone === undefined) return;
  const { pool } = world.volumes.find(gone.volume);
  gone.deleteBegun = timeline.now();
  const names = [{ volume: gone.volume, snapshot: gone.name }];
  const options = { keepClones: true, bookmark: random.chance(4) };
  await timeline.during('snapshot delete', () => snapshots.delete(names, options));
  gone.deleted = timeline.promised();
  const merged = timeline.begin('merge');
  void snapshots.settled(pool).then(merged, merged);
}

export async function flatten(world: World): Promise<void> {
  const { timeline, snapshots } = world;
  const volume = world.pickVolume();
  if (volume === undefined) return;
  const { signal } = new AbortController();
  await timeline.during('volume flatten', () =>
    snapshots.flatten(volume.life.name, () => {}, signal),
  );
}

/** The tree changes while layers that lost their names are merged. */
export async function race(world: World): Promise<void> {
  const removed = remove(world);
  const others = [
    () => take(world),
    () => Promise.all([flatten(world), take(world)]),
    () => clone(world),
    () => revert(world),
  ];
  await Promise.all([removed, world.random.pick(others)?.()]);
}
