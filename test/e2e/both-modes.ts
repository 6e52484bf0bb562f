/** What tests of snapshots under load have in common: a volume in each snapshot mode, and a pool that has to be whole at the end. */
import { expect } from 'vitest';
import type { Service } from '../../tools/lib/service.ts';

/** Snapshot modes, and the names of the volumes that have them. */
export const modes = ['row', 'cow'] as const;

/** Makes a pool of two disks with an exported volume in each mode. @returns the disks' URIs */
export async function serveBothModes(service: Service, size: string): Promise<readonly string[]> {
  const files = await service.createPool('2GiB', 2);
  for (const mode of modes) {
    const shape = ['--size', size, '--pool', 'main', '--snapshot-mode', mode];
    await service.varve('volume', 'create', mode, ...shape);
    await service.varve('export', 'add', mode);
  }
  return files.map((file) => `file:${file}`);
}

/** Stops the service and checks what it left on its disks. */
export async function expectWhole(service: Service, disks: readonly string[]): Promise<void> {
  await service.stop();
  const check = await service.outcome(['pool', 'check', '--offline', ...disks]);
  expect(check.status, check.stdout + check.stderr).toBe(0);
}
