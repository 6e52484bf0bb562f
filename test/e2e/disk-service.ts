/**
 * What tests of disks as operators have them have in common: a service per test that is gone behind it with all that it needed, qemu's
 * tools as clients, and a pool that has to be whole from its disks alone.
 */
import { afterEach, expect } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import { Service, type ServiceOptions } from '../../tools/lib/service.ts';
import { Undo } from './raw-disks.ts';

export const MiB = 1024 * 1024;

export interface DiskService {
  /** Undone behind each test, after the service has ended. */
  readonly undo: Undo;
  readonly start: (options?: ServiceOptions) => Promise<Service>;
}

/** To be called once per test file. */
export function diskService(): DiskService {
  const undo = new Undo();
  let service: Service | undefined;
  afterEach(async () => {
    await service?.dispose();
    await undo.all();
  });
  const start = async (options?: ServiceOptions) => {
    service = await Service.start(options);
    return service;
  };
  return { undo, start };
}

/** Steps as qemu-io has them; each must succeed, and what it verifies be so. Opened for reading when all of them read. */
export async function qemuIo(uri: string, ...steps: string[]): Promise<void> {
  const readOnly = steps.every((step) => step.startsWith('read ')) ? ['-r'] : [];
  const args = [...readOnly, '-f', 'raw', ...steps.flatMap((step) => ['-c', step]), uri];
  expect(await run('qemu-io', args)).not.toMatch(/verification failed|error/i);
}

/** What lies behind the end of the shorter one is compared as zeroes. @param format of the first; the other is raw */
export async function expectIdentical(a: string, b: string, format = 'raw'): Promise<void> {
  const args = ['compare', '-f', format, '-F', 'raw', a, b];
  expect(await run('qemu-img', args)).toMatch(/Images are identical/);
}

/** Stops the service and checks what it left on its disks. */
export async function expectSoundDisks(here: Service, disks: readonly string[]): Promise<void> {
  await here.stop();
  const checking = ['pool', 'check', '--offline', ...disks, '-o', 'json'];
  const { stdout, status } = await here.outcome(checking);
  expect([status, JSON.parse(stdout).findings.filter(isDamage)]).toEqual([0, []]);
}

function isDamage({ severity }: { severity: string }): boolean {
  return severity === 'damage';
}

/** Paths of the adopted disks that the service reads from. */
export async function adoptedDisks(here: Service): Promise<unknown[]> {
  const { items = [] } = await here.varve('disk', 'list');
  return items.filter(({ role }) => role === 'adopted').map(({ path }) => path);
}
