/**
 * One state that a power cut may leave: checked offline, imported by another host from the disks alone or by the same one with
 * what it remembers, and every volume compared with what the moment of the cut had promised.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { PoolMoves } from '../../src/migration/pool-move/pool-moves.ts';
import { leaseTimes } from '../../src/pool/lease.ts';
import { Pools } from '../../src/pool/pools.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { damageOn, type FoundDisks, findPools, replayedKinds } from './autopsy.ts';
import { imageViolations } from './durability-model.ts';
import type { KeptMemory } from './kept-memory.ts';
import { nothingExported } from './nothing-exported.ts';
import {
  type Promised,
  presenceViolation,
  type SnapshotLife,
  type VolumeLife,
} from './promises.ts';
import type { CutDisk } from './recording-plane.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const emit = () => {};

/** What a cut at that moment left behind. */
export interface Remains {
  readonly moment: number;
  /** Those without a label belong to nobody. */
  readonly disks: readonly CutDisk[];
  /** Undefined: another host. */
  readonly memory: KeptMemory | undefined;
}

export interface Verdict {
  /** One for each broken promise. */
  readonly sentences: readonly string[];
  /** The index came from what the host remembered, not from the disks. */
  readonly remembered: boolean;
  /** Of records in the journals' tails. */
  readonly recordKinds: ReadonlySet<string>;
}

/** @param folder for the state of the host that opens the pools */
export async function judge(
  dataPlane: DataPlane,
  remains: Remains,
  promised: Promised,
  folder: string,
): Promise<Verdict> {
  const { memory, moment, disks } = remains;
  const found = await findPools(disks);
  const sentences = [...found.damage, ...(await damageIn(found))];
  const recordKinds = new Set<string>();
  for (const pool of found.pools) {
    for (const kind of await replayedKinds(pool)) recordKinds.add(kind);
  }
  const stateDir = mkdtempSync(join(folder, 'state-'));
  if (memory !== undefined) cpSync(memory.folder, stateDir, { recursive: true });
  const told = new Set<string>();
  const pools = await Pools.open({
    stateDir,
    dataPlane,
    clock: systemClock,
    log: silent,
    emit: ({ kind }) => told.add(kind),
    // Its last owner is dead for certain: nobody need be given the time to find out.
    options: { flushWindowMs: 1000, leaseTimes: { ...leaseTimes(), settleMs: 1 } },
  });
  try {
    for (const uris of found.pools.map((pool) => pool.map(({ uri }) => uri))) {
      await pools.import(uris, { takeover: true });
    }
    sentences.push(...(await judgeContent(dataPlane, pools, { promised, moment })));
  } catch (error) {
    sentences.push(`the pool does not open: ${error instanceof Error ? error.stack : error}`);
  } finally {
    await pools.close();
    rmSync(stateDir, { recursive: true });
  }
  const left = await damageIn(await findPools(disks));
  sentences.push(...left.map((finding) => `after recovery: ${finding}`));
  const remembered = memory !== undefined && !told.has('pool/index-rebuilt');
  return { sentences, remembered, recordKinds };
}

async function damageIn({ pools }: FoundDisks): Promise<string[]> {
  const found: string[] = [];
  for (const disks of pools) found.push(...(await damageOn(disks)));
  return found;
}

interface Judged {
  readonly promised: Promised;
  readonly moment: number;
}

/** What is shown at once, and when what was cut off is finished: nothing that is shown changes by it. */
async function judgeContent(
  dataPlane: DataPlane,
  pools: Pools,
  { promised, moment }: Judged,
): Promise<string[]> {
  const changes = () => pools.all().map(({ index }) => index.state.applied.sequence);
  const before = changes();
  const volumes = new VolumeService({ pools, clock: systemClock, emit });
  const services = { pools, volumes, clock: systemClock, emit };
  const snapshots = new SnapshotService(services);
  const exports = nothingExported(dataPlane, { ...services, snapshots });
  const moves = new PoolMoves({ ...services, exports });
  const found: string[] = [];
  const look = async () => {
    for (const life of promised.lives) found.push(...(await judgeVolume(volumes, life, moment)));
    for (const life of promised.snapshotLives) {
      found.push(...(await judgeSnapshot(snapshots, life, moment)));
    }
    found.push(...judgeGroups(snapshots, promised.snapshotLives, moment));
  };
  await moves.settle();
  await look();
  // Nobody goes on with moves that were cut off.
  await moves.dropAbandoned(() => false);
  for (const pool of pools.all()) await snapshots.settled(pool);
  if (changes().some((sequence, at) => sequence !== before[at])) await look();
  moves.close();
  await snapshots.close();
  return found;
}

async function judgeVolume(
  volumes: VolumeService,
  life: VolumeLife,
  cut: number,
): Promise<string[]> {
  const there = volumes.list().filter(({ name }) => name === life.name);
  if (there.length > 1) return [`volume ${life.name} is there twice`];
  const wrong = presenceViolation(life, there.length > 0, cut);
  if (wrong !== undefined) return [`volume ${life.name} ${wrong}`];
  if (there.length === 0) return [];
  const open = await volumes.open(life.name);
  try {
    const shown = await open.plane.read(0, open.record.sizeBytes);
    return life.model.violations(shown, cut);
  } finally {
    await open.close();
  }
}

function listed(snapshots: SnapshotService, life: SnapshotLife) {
  return snapshots
    .list()
    .filter(
      ({ volume, name, kind }) =>
        volume === life.volume && name === life.name && kind === 'snapshot',
    );
}

/** Of a group whose creation was cut off all are there or none. */
function judgeGroups(
  snapshots: SnapshotService,
  lives: readonly SnapshotLife[],
  cut: number,
): string[] {
  const cutOff = lives.filter(({ createBegun, created }) => createBegun <= cut && cut < created);
  const groups = new Set(cutOff.flatMap(({ group }) => group ?? []));
  return [...groups].flatMap((group) => {
    const members = cutOff.filter((life) => life.group === group);
    const there = members.filter((life) => listed(snapshots, life).length > 0);
    if (there.length === 0 || there.length === members.length) return [];
    return [`${there.length} of the ${members.length} snapshots of group ${group} are there`];
  });
}

async function judgeSnapshot(
  snapshots: SnapshotService,
  life: SnapshotLife,
  cut: number,
): Promise<string[]> {
  const where = `snapshot ${life.volume}@${life.name}`;
  const [info, ...others] = listed(snapshots, life);
  if (others.length > 0) return [`${where} is there twice`];
  const wrong = presenceViolation(life, info !== undefined, cut);
  if (wrong !== undefined) return [`${where} ${wrong}`];
  if (info === undefined) return [];
  const open = await snapshots.open(info.pool, info.id);
  try {
    const shown = await open.plane.read(0, info.sizeBytes);
    return imageViolations(life.image, shown).map((sentence) => `${where} ${sentence}`);
  } finally {
    await open.close();
  }
}
