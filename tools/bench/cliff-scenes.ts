/**
 * Scenes: something goes on in a service that might disturb a guest, and the guest's p99 before, during and after it.
 *
 * The guest is as QEMU is: one connection, sixteen requests in flight, 70/30 random 4 KiB, a flush after every 64 writes; as fast as it
 * gets answers. So it takes all of the machine that is left, and whoever computes beside it costs it time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Tgt } from '../../test/servers/tgt.ts';
import { run } from '../lib/command.ts';
import { evaluate, inspectorAddress } from '../lib/inspector.ts';
import { Service, type ServiceOptions } from '../lib/service.ts';
import type { Noticed } from './cliff-report.ts';
import { type Extent, fill, type Measurement, measure, measureBeside, withLoad } from './fio.ts';
import { mapWhole } from './map-whole.ts';
import { movers } from './movers.ts';
import { ownPeers } from './peer-tools.ts';
import { qsdRaw } from './peers.ts';
import type { RunningServer } from './servers.ts';
import { plainSetting } from './settings.ts';
import type { IoPattern } from './workloads.ts';

export interface CliffPlan extends Extent {
  /** Of the volume whose map is written out, or merged. */
  readonly mappedGiB: number;
}

export interface Scene {
  readonly name: string;
  /** The factor that goals.md promises. */
  readonly limit?: number;
  readonly run: (plan: CliffPlan) => Promise<Noticed>;
}

const asQemu: IoPattern = {
  fresh: false,
  pattern: 'randrw',
  blockSize: '4k',
  depth: 16,
  flushEvery: 64,
};
/** Random writes of one block each, over more space than they can fill: nearly each takes a cluster. */
const scattered: IoPattern = { ...asQemu, pattern: 'randwrite' };
const scatteredMiB = 64 * 1024;

export const scenes: readonly Scene[] = [
  { name: 'event loop blocked', run: eventLoopBlocked },
  { name: 'index folding all the time', run: indexFolding },
  { name: 'journal near full', run: journalNearFull },
  { name: 'checkpoint running', run: checkpointRunning },
  { name: 'merge running', run: mergeRunning },
  { name: 'sealing of a frozen layer', run: sealing },
  { name: 'drain running', limit: 2, run: drainRunning },
  { name: 'one slow disk among fast ones', run: slowDisk },
  { name: 'one greedy client among polite ones', run: greedyClient },
  { name: 'one greedy client of qemu-storage-daemon, raw files', run: greedyClientOfPeer },
];

/** JavaScript does nothing at all meanwhile. */
function eventLoopBlocked(plan: CliffPlan): Promise<Noticed> {
  return onStage({ nodeFlags: ['--inspect=127.0.0.1:0'] }, async (service) => {
    await service.createPool('8GiB');
    const guest = await filledVolume(service, 'guest', plan);
    const ms = 1000 * plan.runtimeSeconds;
    const busy = `(() => { const end = Date.now() + ${ms}; while (Date.now() < end); })()`;
    return noticed(guest, plan, () => evaluate(inspectorAddress(service.log), busy));
  });
}

/** Another guest writes into fresh space, a cluster each time; before and after it overwrites as often what it has. */
function indexFolding(plan: CliffPlan): Promise<Noticed> {
  return onStage({}, async (service) => {
    await service.createPool('128GiB');
    const guest = await filledVolume(service, 'guest', plan);
    const calm = await filledVolume(service, 'calm', plan);
    const wild = await emptyVolume(service, 'wild', `${scatteredMiB}MiB`);
    const rate = 5000;
    const over = (work: () => Promise<Measurement>) =>
      withLoad(calm, scattered, { spanMiB: plan.spanMiB, rate }, work);
    const into = (work: () => Promise<Measurement>) =>
      withLoad(wild, scattered, { spanMiB: scatteredMiB, rate }, work);
    const once = () => measure(guest, asQemu, plan);
    await once();
    return p99s(await over(once), await into(once), await over(once));
  });
}

/** A guest that writes into fresh space and flushes, in a pool with a ring of 64 MiB, and in one whose ring of 2 MiB is always half full. */
function journalNearFull(plan: CliffPlan): Promise<Noticed> {
  return onStage({}, async (service) => {
    await service.createPool('64GiB');
    const file = (name: string) => join(service.folder, name);
    const disks = [`file:${file('small')}?size=128MiB`, `file:${file('large')}?size=64GiB`];
    await service.varve('pool', 'create', 'narrow', ...disks);
    const size = `${scatteredMiB}MiB`;
    const [wide, narrow] = [
      await emptyVolume(service, 'wide', size),
      await emptyVolume(service, 'tight', size, 'narrow'),
    ];
    const extent = { ...plan, spanMiB: scatteredMiB };
    const flushing: IoPattern = { ...scattered, flushEvery: 8 };
    const once = (server: RunningServer) => measure(server, flushing, extent);
    await once(narrow);
    return p99s(await once(wide), await once(narrow), await once(wide));
  });
}

/** A disk joins: the map is written out twice, once more to the new disk, and the ring copied. */
function checkpointRunning(plan: CliffPlan): Promise<Noticed> {
  return onMapped(plan, async (service, guest) => {
    const disk = `file:${join(service.folder, 'joins.img')}?size=${2 * plan.mappedGiB}GiB`;
    return noticed(guest, plan, () =>
      service.rest('POST', '/v1/disks', { pool: 'main', uri: disk }),
    );
  });
}

/** The only snapshot of a volume goes: its head takes over every cluster. */
function mergeRunning(plan: CliffPlan): Promise<Noticed> {
  return onMapped(plan, async (service, guest) => {
    await service.rest('POST', '/v1/snapshots', { names: ['disk@whole'] });
    return noticed(guest, plan, async () => {
      await service.rest('DELETE', '/v1/snapshots/disk@whole');
      await delay(2000 * plan.runtimeSeconds);
    });
  });
}

/** Another guest has a snapshot, all of which is read and hashed in the background. */
function sealing(plan: CliffPlan): Promise<Noticed> {
  return onStage({}, async (service) => {
    await service.createPool('8GiB');
    const guest = await filledVolume(service, 'guest', plan);
    await filledVolume(service, 'other', plan);
    const once = () => measure(guest, asQemu, plan);
    await once();
    const before = await once();
    await service.rest('POST', '/v1/snapshots', { names: ['other@sealed'] });
    while (!(await isMoving(service))) await delay(100);
    const during = await once();
    while (await isMoving(service)) await delay(100);
    return p99s(before, during, await once());
  });
}

/** Whether background work of the pool did anything within a second. */
async function isMoving(service: Service): Promise<boolean> {
  const movedBytes = () => service.metric('varve_pool_background_moved_bytes_total');
  const before = await movedBytes();
  await delay(1000);
  return (await movedBytes()) > before;
}

async function drainRunning(plan: CliffPlan): Promise<Noticed> {
  const drain = movers.find(({ name }) => name === 'varve disk drain');
  if (drain === undefined) throw new Error('varve drains disks');
  const disk = await drain.create('', plan.spanMiB);
  try {
    await settle(disk.server, plan);
    return await noticed(disk.server, plan, () => disk.move());
  } finally {
    await disk.close();
  }
}

/** Three disks are files; a fourth one, which carries another guest, answers for a moment every quarter of a second. */
async function slowDisk(plan: CliffPlan): Promise<Noticed> {
  const tgt = await Tgt.start();
  try {
    const lun = await tgt.addLun({ sizeBytes: 4 * 2 ** 30 });
    return await onStage({}, async (service) => {
      await service.createPool('8GiB', 3);
      const joined = await service.varve('disk', 'add', 'main', tgt.uri(lun));
      await service.varve('disk', 'set-class', String(joined.uuid), 'slow');
      const guest = await filledVolume(service, 'guest', plan);
      const other = await filledVolume(service, 'other', plan, ['--class', 'slow']);
      const halting = new Halting(tgt);
      const load = { spanMiB: plan.spanMiB };
      return await withLoad(other, { ...asQemu, depth: 4 }, load, () =>
        noticed(guest, plan, () => halting.run(plan.runtimeSeconds)),
      );
    });
  } finally {
    await tgt.close();
  }
}

/** A polite guest beside one that takes what it gets: four connections, 32 requests of 64 KiB in flight on each. */
function greedyClient(plan: CliffPlan): Promise<Noticed> {
  return onStage({}, async (service) => {
    await service.createPool('8GiB');
    const guest = await filledVolume(service, 'guest', plan);
    const other = await filledVolume(service, 'other', plan);
    return besideGreed(guest, other, plan);
  });
}

/** What two such clients cost each other by themselves, as they share the machine's processors: no map, no snapshots, two images. */
async function greedyClientOfPeer(plan: CliffPlan): Promise<Noticed> {
  const folder = mkdtempSync(join(tmpdir(), 'varve-peer-'));
  const setting = { ...plainSetting, volumes: 2 };
  const server = await qsdRaw(ownPeers).start({ folder, sizeMiB: plan.spanMiB, setting });
  try {
    const other = { ...server, uri: server.others?.[0] ?? '' };
    for (const each of [server, other]) await settle(each, plan);
    return await besideGreed(server, other, plan);
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true });
  }
}

function besideGreed(
  guest: RunningServer,
  other: RunningServer,
  plan: CliffPlan,
): Promise<Noticed> {
  const greedy: IoPattern = { ...asQemu, blockSize: '64k', depth: 32, connections: 4 };
  const load = { spanMiB: plan.spanMiB };
  return noticed(guest, plan, () =>
    withLoad(other, greedy, load, () => delay(1000 * (plan.runtimeSeconds + 1))),
  );
}

/** A server that is stopped most of the time. */
class Halting {
  readonly #tgt: Tgt;

  constructor(tgt: Tgt) {
    this.#tgt = tgt;
  }

  async run(seconds: number): Promise<void> {
    for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
      this.#tgt.pause();
      await delay(230);
      this.#tgt.resume();
      await delay(20);
    }
  }
}

async function onStage(
  options: ServiceOptions,
  scene: (service: Service) => Promise<Noticed>,
): Promise<Noticed> {
  const service = await Service.start(options);
  try {
    return await scene(service);
  } finally {
    await service.dispose();
  }
}

/** Beside the guest's volume there is `disk`, every cluster of which has a place. */
function onMapped(
  plan: CliffPlan,
  scene: (service: Service, guest: RunningServer) => Promise<Noticed>,
): Promise<Noticed> {
  return onStage({ readyMs: 120_000 }, async (service) => {
    await service.createPool(`${plan.mappedGiB + Math.max(16, plan.mappedGiB / 4)}GiB`);
    await emptyVolume(service, 'disk', `${plan.mappedGiB}GiB`);
    await mapWhole(service, 'disk');
    return scene(service, await filledVolume(service, 'guest', plan));
  });
}

async function noticed(
  guest: RunningServer,
  plan: CliffPlan,
  disturb: () => Promise<unknown>,
): Promise<Noticed> {
  // Who is slow when cold is not what is looked for.
  await measure(guest, asQemu, plan);
  const before = await measure(guest, asQemu, plan);
  const { measured: during } = await measureBeside(guest, asQemu, plan.spanMiB, disturb);
  return p99s(before, during, await measure(guest, asQemu, plan));
}

function p99s(before: Measurement, during: Measurement, after: Measurement): Noticed {
  return { before: before.p99Us, during: during.p99Us, after: after.p99Us };
}

async function emptyVolume(
  service: Service,
  name: string,
  size: string,
  pool = 'main',
  options: readonly string[] = [],
): Promise<RunningServer> {
  await service.varve('volume', 'create', name, '--size', size, '--pool', pool, ...options);
  await service.varve('export', 'add', name);
  return { uri: service.uri(name), pid: service.pid, stop: () => service.dispose() };
}

async function filledVolume(
  service: Service,
  name: string,
  plan: CliffPlan,
  options: readonly string[] = [],
): Promise<RunningServer> {
  const server = await emptyVolume(service, name, `${plan.spanMiB}MiB`, 'main', options);
  await settle(server, plan);
  return server;
}

/** Full, and what was written is on the disk: its writeback disturbs nobody. */
async function settle(server: RunningServer, { spanMiB }: CliffPlan): Promise<void> {
  await fill(server, spanMiB);
  await run('sync', [], { timeoutMs: 300_000 });
}
