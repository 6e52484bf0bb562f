/**
 * What a move costs: how fast one is alone, and what a guest notices of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import type { Figures } from './chain-session.ts';
import { type Extent, fill, measure, measureBeside } from './fio.ts';
import type { MovableDisk, Mover } from './movers.ts';
import type { IoPattern } from './workloads.ts';

export interface MovePlan extends Extent {
  /** An existing folder on the file system to be measured. */
  readonly folder: string;
}

/** As a guest does: one connection, a few requests in flight, flushes among them. */
const guest: IoPattern = {
  fresh: false,
  pattern: 'randrw',
  blockSize: '4k',
  depth: 4,
  flushEvery: 64,
};

/** Nobody else at work. */
export function moveAlone(mover: Mover, plan: MovePlan): Promise<Figures> {
  return onFilledDisk(mover, plan, async (disk) => {
    const seconds = await disk.move();
    return new Map([['alone, MB/s', megabytesPerSecond(plan, seconds)]]);
  });
}

/** A guest reads and writes before, during and after. */
export function moveBesideGuest(mover: Mover, plan: MovePlan): Promise<Figures> {
  return onFilledDisk(mover, plan, async (disk) => {
    const { spanMiB } = plan;
    // What filling the disk left to do, and who is slow when cold, is not what a move costs.
    await measure(disk.server, guest, plan);
    const before = await measure(disk.server, guest, plan);
    const move = () => disk.move();
    const { measured, result } = await measureBeside(disk.server, guest, spanMiB, move);
    const after = await measure(disk.server, guest, plan);
    return new Map<string, typeof before | number>([
      ['before', before],
      ['during', measured],
      ['after', after],
      ['beside a guest, MB/s', megabytesPerSecond(plan, result)],
      ['p99 during ÷ before and after', (2 * measured.p99Us) / (before.p99Us + after.p99Us)],
    ]);
  });
}

function megabytesPerSecond({ spanMiB }: MovePlan, seconds: number): number {
  return (spanMiB * 1.048576) / seconds;
}

async function onFilledDisk(
  mover: Mover,
  plan: MovePlan,
  scenario: (disk: MovableDisk) => Promise<Figures>,
): Promise<Figures> {
  const folder = mkdtempSync(join(plan.folder, 'move-'));
  try {
    const disk = await mover.create(folder, plan.spanMiB);
    try {
      await fill(disk.server, plan.spanMiB);
      // The writeback of what was before must not be in the way.
      await run('sync', ['-f', plan.folder], { timeoutMs: 300_000 });
      return await scenario(disk);
    } finally {
      await disk.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
