/**
 * Disks and images as operators have them before varve: files with data in places, loop devices on them.
 */
import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFailed } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import { chooseSeed, randomFrom } from './seeded.ts';

const KiB = 1024;

/** A sparse file with pieces of random data: at both ends, and here and there at odd places. */
export function rawDisk(folder: string, sizeBytes: number, name = 'raw.img'): string {
  const seed = chooseSeed();
  onTestFailed(() => console.error(`repeat with SEED=${seed}`));
  const random = randomFrom(seed);
  const path = join(folder, name);
  const file = openSync(path, 'w');
  ftruncateSync(file, sizeBytes);
  const put = (from: number, bytes: number) => {
    const data = Uint8Array.from({ length: bytes }, () => random(1, 256));
    writeSync(file, data, 0, bytes, from);
  };
  put(0, Math.min(sizeBytes, 9000));
  for (let piece = 0; piece < 12; piece++) {
    const bytes = Math.min(sizeBytes, random(1, 300 * KiB));
    put(random(0, sizeBytes - bytes + 1), bytes);
  }
  const last = Math.min(sizeBytes, 777);
  put(sizeBytes - last, last);
  closeSync(file);
  return path;
}

export function hashOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** Undone in the reverse order, whatever the test did. */
export class Undo {
  readonly #steps: (() => Promise<unknown>)[] = [];

  add(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  async all(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}

/** A block device on a file; needs root, as the tests' machines give. */
export async function loopDevice(file: string, undo: Undo): Promise<string> {
  const device = (await run('losetup', ['--find', '--show', file])).trim();
  undo.add(() => run('losetup', ['--detach', device]));
  return device;
}
