/**
 * Steps of a life at which it might have crashed, each as likely as any other, with what the host remembered at that very step.
 */
import { join } from 'node:path';
import { type KeptMemory, keepMemory } from '../explore/kept-memory.ts';
import type { Random } from '../explore/random.ts';

export interface CrashPoint {
  /** Of the trace. */
  readonly step: number;
  /** Of the recorded disks. */
  readonly moment: number;
  /** What becomes of what was not synced, see Cut. */
  readonly cutSeed: number;
  /** Undefined: another host opens the pools. */
  readonly memory: KeptMemory | undefined;
}

export class CrashPoints {
  readonly #random: Random;
  readonly #max: number;
  readonly #folder: string;
  readonly #points: CrashPoint[] = [];
  #offered = 0;
  #kept = 0;

  /** @param folder for what hosts remember */
  constructor(random: Random, options: { readonly max: number; readonly folder: string }) {
    this.#random = random;
    this.#max = options.max;
    this.#folder = options.folder;
  }

  /** The life is at rest before that step: it may crash there. */
  offer(at: { readonly step: number; readonly moment: number; readonly stateDir: string }): void {
    this.#offered += 1;
    // As in a reservoir: in the end each has had the same chance.
    const place =
      this.#points.length < this.#max ? this.#points.length : this.#random.below(this.#offered);
    if (place < this.#max) this.#points[place] = this.#take(at);
  }

  get all(): readonly CrashPoint[] {
    return [...this.#points].sort((a, b) => a.step - b.step);
  }

  #take({
    step,
    moment,
    stateDir,
  }: {
    step: number;
    moment: number;
    stateDir: string;
  }): CrashPoint {
    const random = this.#random;
    const cutSeed = random.chance(3) ? random.below(2) : 2 + random.below(1 << 30);
    const remembers = random.chance(2);
    const folder = join(this.#folder, `kept-${++this.#kept}`);
    const memory = remembers ? keepMemory(stateDir, folder, moment) : undefined;
    return { step, moment, cutSeed, memory };
  }
}
