/**
 * One state that a power cut may leave: checked offline, imported by another host from the disks alone or by the same one with
 * what it remembers, and every volume compared with what the moment of the cut had promised. Some are also salvaged before anybody opens them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { PoolMoves } from '../../src/migration/pool-move/pool-moves.ts';
import { leaseTimes } from '../../src/pool/lease.ts';
import { Pools } from '../../src/pool/pools.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { type OpenVolume, VolumeService } from '../../src/volume/volume-service.ts';
import { damageOn, type FoundDisks, findPools, replayedKinds } from './autopsy.ts';
import { byName, judgeShown, nameOf, type Shown } from './content.ts';
import { type KeptMemory, restoreMemory } from './kept-memory.ts';
import { nothingExported } from './nothing-exported.ts';
import type { Promised } from './promises.ts';
import type { CutDisk } from './recording-plane.ts';
import { judgeSalvaged } from './salvaged.ts';
import { ImageBytes } from './sectors.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const emit = () => {};

/** What a cut left behind. */
export interface Remains {
  /** Those without a label belong to nobody. */
  readonly disks: readonly CutDisk[];
  /** Undefined: another host. */
  readonly memory: KeptMemory | undefined;
  /** What salvage makes of it is compared, too; of a single pool only: during a move both may show a volume, or neither. */
  readonly salvage: boolean;
}

export interface Examined {
  /** One for each broken promise. */
  readonly sentences: readonly string[];
  /** Of records in the journals' tails. */
  readonly recordKinds: ReadonlySet<string>;
}

export interface Opened {
  /** One for each broken promise. */
  readonly sentences: readonly string[];
  /** It was salvaged, too. */
  readonly salvaged: boolean;
  /** The index came from what the host remembered, not from the disks. */
  readonly remembered: boolean;
}

export type Verdict = Examined & Opened;

/** What is shown by salvage, by the pools when they are open, and by them when what was cut off is finished, if that changed anything. */
export type When = 'salvaged' | 'opened' | 'finished';

/** Judges what is shown; @returns a sentence for each broken promise */
export type Look = (shown: Shown<ImageBytes>, when: When) => Promise<readonly string[]>;

/** @param folder for the state of the host that opens the pools */
export async function judge(
  dataPlane: DataPlane,
  remains: Remains & { readonly moment: number },
  promised: Promised,
  folder: string,
): Promise<Verdict> {
  const look: Look = (shown) => judgeShown(shown, promised, remains.moment);
  return judgeBy(look, dataPlane, remains, folder);
}

/** As `judge`; `look` says what is wrong with what is shown. */
export async function judgeBy(
  look: Look,
  dataPlane: DataPlane,
  remains: Remains,
  folder: string,
): Promise<Verdict> {
  const examined = await examine(remains.disks);
  const opened = await open(dataPlane, { ...remains, folder, look });
  const sentences = [...examined.sentences, ...opened.sentences];
  return { ...opened, recordKinds: examined.recordKinds, sentences };
}

/** The disks as they were left; nothing is written. */
export async function examine(disks: readonly CutDisk[]): Promise<Examined> {
  const found = await findPools(disks);
  const recordKinds = new Set<string>();
  for (const pool of found.pools) {
    for (const kind of await replayedKinds(pool)) recordKinds.add(kind);
  }
  return { sentences: [...found.damage, ...(await damageIn(found))], recordKinds };
}

/** They are salvaged, and then opened; what they show is looked at, and in the end they are checked. */
export async function open(
  dataPlane: DataPlane,
  remains: Remains & { readonly folder: string; readonly look: Look },
): Promise<Opened> {
  const { memory, disks, salvage, folder, look } = remains;
  const sentences: string[] = [];
  const found = await findPools(disks);
  const [only] = found.pools;
  const salvaged = salvage && only !== undefined && found.pools.length === 1;
  if (salvaged) sentences.push(...(await judgeSalvaged(only, (shown) => look(shown, 'salvaged'))));
  const stateDir = mkdtempSync(join(folder, 'state-'));
  if (memory !== undefined) restoreMemory(memory, stateDir);
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
    sentences.push(...(await judgeContent(dataPlane, pools, look)));
  } catch (error) {
    sentences.push(`the pool does not open: ${error instanceof Error ? error.stack : error}`);
  } finally {
    await pools.close();
    rmSync(stateDir, { recursive: true });
  }
  const left = await damageIn(await findPools(disks));
  sentences.push(...left.map((finding) => `after recovery: ${finding}`));
  const remembered = memory !== undefined && !told.has('pool/index-rebuilt');
  return { sentences, salvaged, remembered };
}

async function damageIn({ pools }: FoundDisks): Promise<string[]> {
  const found: string[] = [];
  for (const disks of pools) found.push(...(await damageOn(disks)));
  return found;
}

/** What is shown at once, and when what was cut off is finished: nothing that is shown changes by it. */
async function judgeContent(dataPlane: DataPlane, pools: Pools, look: Look): Promise<string[]> {
  const changes = () => pools.all().map(({ index }) => index.state.applied.sequence);
  const before = changes();
  const volumes = new VolumeService({ pools, clock: systemClock, emit });
  const services = { pools, volumes, clock: systemClock, emit };
  const snapshots = new SnapshotService(services);
  const exports = nothingExported(dataPlane, { ...services, snapshots });
  const moves = new PoolMoves({ ...services, exports });
  await moves.settle();
  const found = [...(await look(shownBy(volumes, snapshots), 'opened'))];
  // Nobody goes on with moves that were cut off.
  await moves.dropAbandoned(() => false);
  for (const pool of pools.all()) await snapshots.settled(pool);
  if (changes().some((sequence, at) => sequence !== before[at])) {
    found.push(...(await look(shownBy(volumes, snapshots), 'finished')));
  }
  moves.close();
  await snapshots.close();
  return found;
}

/** As it is now. */
function shownBy(volumes: VolumeService, snapshots: SnapshotService): Shown<ImageBytes> {
  const taken = snapshots.list().filter(({ kind }) => kind === 'snapshot');
  return {
    volumes: byName(
      volumes.list().map(({ name, sizeBytes }) => {
        return [name, () => readAll(volumes.open(name), sizeBytes)] as const;
      }),
    ),
    snapshots: byName(
      taken.map((info) => {
        return [
          nameOf(info),
          () => readAll(snapshots.open(info.pool, info.id), info.sizeBytes),
        ] as const;
      }),
    ),
  };
}

async function readAll(
  opening: Promise<Pick<OpenVolume, 'plane' | 'close'>>,
  sizeBytes: number,
): Promise<ImageBytes> {
  const open = await opening;
  try {
    return new ImageBytes(await open.plane.read(0, sizeBytes));
  } finally {
    await open.close();
  }
}
