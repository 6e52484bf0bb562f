/**
 * Requests of guests: writes, FUA writes, trims, zeroing and flushes, racing in batches over all volumes.
 */
import { sectorBytes, stamp } from '../sectors.ts';
import { type LiveVolume, subBlockBytes, type World } from '../world.ts';

const requestsPerBatch = 16;

/**
 * Requests in flight together: they share clusters and sub-blocks, never sectors.
 *
 * @param how.flushing false: no guest asks for durability, neither by a flush nor by FUA
 */
export async function batch(
  world: World,
  volumes: readonly LiveVolume[] = world.live,
  { flushing = true } = {},
): Promise<void> {
  const { random } = world;
  const requests: Promise<void>[] = [];
  // As they are now: others may come and go meanwhile.
  for (const volume of [...volumes]) {
    const { sizeBytes } = volume.life.model;
    let at = random.below(64) * sectorBytes;
    while (at < sizeBytes && requests.length < requestsPerBatch) {
      const length = Math.min((1 + random.below(48)) * sectorBytes, sizeBytes - at);
      const fua = flushing && random.chance(10);
      requests.push(request(world, volume, { offset: at, length, fua }));
      at += length + random.below(200) * sectorBytes;
    }
    if (flushing && random.chance(4)) requests.push(flush(world, volume));
  }
  await Promise.all(requests);
  const volume = random.pick(volumes);
  if (flushing && volume !== undefined && random.chance(3)) await flush(world, volume);
}

interface Request {
  readonly offset: number;
  readonly length: number;
  readonly fua: boolean;
}

function request(world: World, volume: LiveVolume, wanted: Request): Promise<void> {
  return world.random.chance(5) ? discard(world, volume, wanted) : write(world, volume, wanted);
}

async function write(
  world: World,
  { life, open }: LiveVolume,
  { offset, length, fua }: Request,
): Promise<void> {
  const { timeline } = world;
  const serial = world.nextSerial();
  const data = new Uint8Array(length);
  stamp(data, life.model.id, offset / sectorBytes, serial);
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
  { offset, length }: Request,
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
