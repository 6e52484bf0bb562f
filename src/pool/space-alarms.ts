/**
 * SpaceAlarms: an event each time a pool becomes fuller than a threshold, and one when it is well below again.
 *
 *   80 %    90 %    95 %        a threshold counts as left five points below it
 *
 * Elsewhere: the warning that holds as long as its cause (pool-info.ts), what happens when nothing is left (space-patience.ts).
 */
import type { Clock } from '../base/clock.ts';
import type { EmitEvent } from './types.ts';

/** What of a pool is used, of what data may take. */
export interface SpaceUse {
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly reserveBytes: number;
}

export interface SpaceThreshold {
  readonly percent: number;
  readonly level: 'warning' | 'critical';
}

const thresholds: readonly SpaceThreshold[] = [
  { percent: 80, level: 'warning' },
  { percent: 90, level: 'critical' },
  { percent: 95, level: 'critical' },
];

/** Or a guest that trims and writes around a threshold would ring all day. */
const hysteresisPercent = 5;
const lookIntervalMs = 1_000;

/** Full percents. */
export function percentUsed({ capacityBytes, usedBytes, reserveBytes }: SpaceUse): number {
  const available = capacityBytes - reserveBytes;
  return available <= 0 ? 100 : Math.floor((100 * usedBytes) / available);
}

/** The highest one that is reached. */
export function thresholdReached(percent: number): SpaceThreshold | undefined {
  return thresholds.findLast((threshold) => percent >= threshold.percent);
}

export class SpaceAlarms {
  readonly #parts: { readonly subject: string; readonly emit: EmitEvent };
  readonly #stopLooking: () => void;
  /** The threshold that counts as reached; 0: none. */
  #reached: number;

  /** What is reached already when it begins is no news: `status` has it. */
  constructor(parts: {
    /** The pool's name. */
    readonly subject: string;
    readonly clock: Clock;
    readonly emit: EmitEvent;
    readonly use: () => SpaceUse;
  }) {
    this.#parts = parts;
    this.#reached = thresholdReached(percentUsed(parts.use()))?.percent ?? 0;
    this.#stopLooking = parts.clock.every(lookIntervalMs, () =>
      this.#look(percentUsed(parts.use())),
    );
  }

  stop(): void {
    this.#stopLooking();
  }

  #look(percent: number): void {
    const before = this.#reached;
    const counts = ({ percent: threshold }: SpaceThreshold) =>
      percent >= threshold || (threshold <= before && percent > threshold - hysteresisPercent);
    this.#reached = thresholds.findLast(counts)?.percent ?? 0;
    if (this.#reached > before) {
      this.#tell('warning', 'pool/space-low', `is ${percent} % full`);
    } else if (this.#reached < before) {
      this.#tell('info', 'pool/space-freed', `is only ${percent} % full`);
    }
  }

  #tell(level: 'info' | 'warning', kind: string, what: string): void {
    const { subject, emit } = this.#parts;
    emit({ kind, level, subject, message: `pool ${subject} ${what}` });
  }
}
