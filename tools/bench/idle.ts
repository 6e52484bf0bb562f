/**
 * What a service costs that nobody asks anything: its processor time, how often its threads wake up, and its memory.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Service } from '../lib/service.ts';
import { cpuSeconds } from './cpu.ts';
import { residentMiB } from './process-memory.ts';

export interface IdleFigures {
  readonly corePercent: number;
  readonly residentMiB: number;
  /** Per second, by the name of the thread. */
  readonly wakeUps: ReadonlyMap<string, number>;
}

/** The memory settings of tools/varve, by which users start it. */
const asInstalled = {
  nodeFlags: ['--max-semi-space-size=2'],
  env: { ...process.env, MALLOC_ARENA_MAX: '2' },
};

/** Of a service with one pool on a file, one exported volume and no client, once its start is behind it. */
export async function idleService(seconds: number): Promise<IdleFigures> {
  const service = await Service.start(asInstalled);
  try {
    await service.createPool('1GiB');
    await service.createExportedVolume('disk', '256MiB');
    await delay(settleMs);
    const { pid } = service;
    const before = { cpu: cpuSeconds(pid), wakeUps: wakeUpsOf(pid) };
    await delay(1000 * seconds);
    const after = wakeUpsOf(pid);
    const rates = [...after].map(
      ([thread, count]) => [thread, (count - (before.wakeUps.get(thread) ?? 0)) / seconds] as const,
    );
    return {
      corePercent: (100 * (cpuSeconds(pid) - before.cpu)) / seconds,
      residentMiB: residentMiB(pid),
      wakeUps: new Map(rates),
    };
  } finally {
    await service.dispose();
  }
}

/** Behind it the first fold, the first look of everybody, and what V8 does after a start. */
const settleMs = 25_000;

/** Times that threads gave up their processor to wait; threads of one name together. */
function wakeUpsOf(pid: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
    const [, name = ''] = /^Name:\s+(.*)$/m.exec(status) ?? [];
    const [, count] = /^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status) ?? [];
    counts.set(name, (counts.get(name) ?? 0) + Number(count));
  }
  return counts;
}
