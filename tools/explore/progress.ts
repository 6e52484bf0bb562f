/**
 * Progress: an exploration that goes on from run to run, in a file that is whole at any moment.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Exploration } from './explore.ts';

export interface Progress {
  /** Of the first life of all. */
  readonly firstSeed: number;
  /** Of all runs together. */
  readonly seconds: number;
  readonly exploration: Exploration;
}

/** @returns undefined when there is no such file: nothing is explored yet */
export function readProgress(path: string): Progress | undefined {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

export function writeProgress(path: string, progress: Progress): void {
  const draft = `${path}.new`;
  writeFileSync(draft, JSON.stringify(progress));
  renameSync(draft, path);
}
