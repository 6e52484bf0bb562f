/**
 * Requests of guests: writes, FUA writes, trims, zeroing and flushes, racing in batches over all volumes.
 */
import { sectorBytes, stamp } from '../sectors.ts';
import { type LiveVolume, subBlockBytes, type World } from '../world.ts';

const requestsPerBatch = 16;

/** Requests in flight together: they share clusters and sub-blocks, never sectors. */
export async function batch(
  world: World,
  volumes: readonly LiveVolume[] = world.live,
): Promise<void> {
  const { random } = world;
  const requests: Promise<void>[] = [];
  // As they are now: others may come and go meanwhile.
  for (const volume of [...volumes]) {
    const { sizeBytes } = volume.life.model;
    let at = random.below(64) * sectorBytes;
    while (at < sizeBytes && requests.length < requestsPerBatch) {
      const length = Math.min((1 + random.below(48)) * sectorBytes, sizeBytes - at);
      requests.push(request(world, volume, at, length));
      at += length + random.below(200) * sectorBytes;
    }
    if (random.chance(4)) requests.push(flush(world, volume));
  }
  await Promise.all(requests);
  const volume = random.pick(volumes);
  if (volume !== undefined && random.chance(3)) await flush(world, volume);
}

function request(world: World, volume: LiveVolume, offset: number, length: number): Promise<void> {
  const { random } = world;
  if (random.chance(5)) return discard(world, volume, offset, length);
  return write(world, volume, offset, length);
}

async function write(
  world: World,
  { life, open }: LiveVolume,
  offset: number,
  length: number,
): Promise<void> {
  const { random, timeline } = world;
  const serial = world.nextSerial();
  const data = new Uint8Array(length);
  stamp(data, life.model.id, offset / sectorBytes, serial);
  const fua = random.chance(10);
  const operation = `${fua ? 'FUA write' : 'write'}, ${open.record.snapshotMode}`;
  const change = life.model.begin(offset, length, serial, timeline.now());
  await timeline.during(operation, () => open.plane.write(offset, data, { fua }));
  life.model.acknowledged(change);
  if (fua) life.model.flushed([change], timeline.promised());
}

/** TRIM does nothing to parts of sub-blocks: whole ones only, so that the model knows what it did. */
async function discard(
  { random, timeline }: World,
  { life, open }: LiveVolume,
  offset: number,
  length: number,
): Promise<void> {
  const start = Math.ceil(offset / subBlockBytes) * subBlockBytes;
  const end = Math.floor((offset + length) / subBlockBytes) * subBlockBytes;
  if (end <= start) return;
  const change = life.model.begin(start, end - start, 0, timeline.now());
  const operation = random.chance(2) ? 'trim' : 'zero';
  await timeline.during(operation, () => open.plane[operation](start, end - start));
  life.model.acknowledged(change);
}

async function flush({ timeline }: World, { life, open }: LiveVolume): Promise<void> {
  const covered = life.model.beginFlush();
  await timeline.during('flush', () => open.plane.flush());
  life.model.flushed(covered, timeline.promised());
}
