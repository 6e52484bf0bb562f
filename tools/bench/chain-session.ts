/**
 * What chains cost: three scenarios on one kind of disk, each giving figures by name.
 *
 * Reading at a depth: every layer above the filled base rewrites its own share of the clusters, so that what is read
 * lies spread over the whole chain.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import { type ChainDisk, type ChainKind, clusterBytes, type DiskContent } from './chain-disks.ts';
import { median } from './compare.ts';
import { type Extent, fill, type Measurement, measure, measureReplay } from './fio.ts';
import { writeReplayLog } from './replay-log.ts';
import type { RunningServer } from './servers.ts';
import { hearWitness, placeWitness } from './witness.ts';
import type { IoPattern } from './workloads.ts';

export interface ChainPlan extends Extent {
  /** An existing folder on the file system to be measured. */
  readonly folder: string;
  /** Ascending; reads are measured at each, and without any snapshot before. */
  readonly depths: readonly number[];
  /** Sizes of maps, ascending. */
  readonly mappedGiB: readonly number[];
}

/** By what was measured; seconds where the name says so. */
export type Figures = ReadonlyMap<string, Measurement | number>;

const read: IoPattern = { fresh: false, pattern: 'randread', blockSize: '4k', depth: 32 };

/** Random overwrites, one per cluster, of a full disk: without and with a snapshot that needs the old data. */
export function overwriteAfterSnapshot(kind: ChainKind, plan: ChainPlan): Promise<Figures> {
  return onFilledDisk(kind, plan, async (disk) => {
    const log = join(plan.folder, 'overwrites.log');
    writeReplayLog(log, plan.spanMiB);
    const overwrites = async () =>
      measureReplay(await settledServer(disk, plan), log, plan.spanMiB);
    const own = await overwrites();
    await placeWitness(await disk.serve(), plan.spanMiB);
    await disk.snapshot();
    const after = await overwrites();
    await hearWitness(await disk.serve(), plan.spanMiB);
    return new Map([
      ['overwrite, no snapshot', own],
      ['overwrite after a snapshot', after],
    ]);
  });
}

/** Random reads while the chain grows, and what its growing and shrinking took. */
export function readAtDepth(kind: ChainKind, plan: ChainPlan): Promise<Figures> {
  return onFilledDisk(kind, plan, async (disk) => {
    const figures = new Map<string, Measurement | number>();
    figures.set('read at depth 0', await measured(disk, read, plan));
    let depth = 0;
    const goals = plan.depths.filter((goal) => goal <= kind.depthMax);
    for (const goal of goals) {
      const seconds: number[] = [];
      for (; depth < goal; depth++) {
        seconds.push(await disk.snapshot());
        await disk.write(shareOf(depth, plan));
      }
      figures.set(`read at depth ${goal}`, await measured(disk, read, plan));
      figures.set(`snapshot up to depth ${goal}, s`, median(seconds));
    }
    figures.set('delete of the oldest snapshot, s', await disk.deleteOldest());
    return figures;
  });
}

/** What snapshots of large disks take: made, made again, and the older one deleted when every cluster of the span was overwritten. */
export async function growingMaps(kind: ChainKind, plan: ChainPlan): Promise<Figures> {
  const figures = new Map<string, Measurement | number>();
  const log = join(plan.folder, 'overwrites.log');
  writeReplayLog(log, plan.spanMiB);
  for (const sizeGiB of plan.mappedGiB) {
    const size = `${sizeGiB} GiB mapped`;
    await onDisk(kind, plan, [sizeGiB * 1024, 'mapped'], async (disk) => {
      figures.set(`${size}: snapshot, s`, await disk.snapshot());
      await measureReplay(await disk.serve(), log, plan.spanMiB);
      figures.set(`${size}: second snapshot, s`, await disk.snapshot());
      figures.set(`${size}: delete of the first, s`, await disk.deleteOldest());
      for (const [name, figure] of (await disk.own?.()) ?? []) {
        figures.set(`${size}: ${name}`, figure);
      }
    });
  }
  return figures;
}

/** The clusters that layer `index` rewrites: all layers together rewrite every cluster once. */
function shareOf(index: number, { spanMiB, depths }: ChainPlan): number[] {
  const layers = Math.max(...depths);
  const clusters = (spanMiB * 1024 * 1024) / clusterBytes;
  const share: number[] = [];
  for (let cluster = index; cluster < clusters; cluster += layers) share.push(cluster);
  return share;
}

function onFilledDisk(
  kind: ChainKind,
  plan: ChainPlan,
  scenario: (disk: ChainDisk) => Promise<Figures>,
): Promise<Figures> {
  return onDisk(kind, plan, [2 * plan.spanMiB, 'empty'], async (disk) => {
    await fill(await disk.serve(), plan.spanMiB);
    return scenario(disk);
  });
}

async function onDisk<T>(
  kind: ChainKind,
  plan: ChainPlan,
  shape: [sizeMiB: number, content: DiskContent],
  scenario: (disk: ChainDisk) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(plan.folder, 'chain-'));
  try {
    const disk = await kind.create(folder, ...shape);
    try {
      return await scenario(disk);
    } finally {
      await disk.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measured(disk: ChainDisk, io: IoPattern, plan: ChainPlan): Promise<Measurement> {
  return measure(await settledServer(disk, plan), io, plan);
}

/** The head's server, when what was written before is on the disk and its writeback disturbs nobody. */
async function settledServer(disk: ChainDisk, plan: ChainPlan): Promise<RunningServer> {
  const server = await disk.serve();
  await run('sync', ['-f', plan.folder], { timeoutMs: 300_000 });
  return server;
}
