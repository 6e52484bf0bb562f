/**
 * BackgroundLimit: how fast background work may go, so that guests' latency stays within a factor of what it is without it.
 *
 *   free ──guests come──▶ held: starts slow ──▶ compared: within the factor → faster; beyond it → slower, down to a floor
 *    ▲                                                                                            │
 *    └────────────────────────── guests are idle for a while ─────────────────────────────────────┘
 *
 * Compared are the latencies while the work goes on with those of *rests*, short spans without it, which come again and again: so what a guest does
 * may change. The 99th percentile of all their requests counts, or as high a one as there are requests to tell.
 * Invariants: the limit is never below the floor, so work always ends; without guests there is none.
 * Pure: told what was observed and how long it took, it has no clock.
 */
import { blended, countOf, quantile } from './latency-histogram.ts';

/** What happened in a span of time. */
export interface Observation {
  readonly seconds: number;
  /** What guests waited for: counts, see latency-histogram.ts. */
  readonly latencies: Float64Array;
  /** By background work. */
  readonly movedBytes: number;
}

export interface LimitOptions {
  /** Of the 99th percentile. */
  readonly factor: number;
  /** Upper bounds of the counts' buckets. */
  readonly bounds: Float64Array;
}

const MiB = 1024 * 1024;
/** Slow enough for any disk to serve guests beside it, fast enough for a TiB to be moved in a day and a half. */
export const floorBytesPerSecond = 8 * MiB;
/** While it is not known yet what the guests bear. */
const cautiousBytesPerSecond = 64 * MiB;
/** So long without a request guests are idle. */
const idleSecondsMin = 0.5;
/** What is known of guests without the work is looked up again when the work has gone on for so long. */
const restEverySeconds = 8;
/** A percentile needs requests; a few slow guests are compared by fewer. */
const requestsToCompare = 1000;
const requestsMin = 5;
/** A disk's own hiccups would be taken for what the work does, were the spans shorter. */
const compareSecondsMin = 0.5;
const compareSecondsMax = 2;
/** An older rest counts by half. */
const restWeight = 0.5;
/** Below this share of what is allowed there is room for more. */
const roomShare = 0.9;
const growth = 1.25;
const shrinkMin = 0.5;
const shrinkMax = 0.8;
/** A limit far above what is reached says nothing, and would take long to come down. */
const headroom = 2;

export class BackgroundLimit {
  readonly #options: LimitOptions;
  #bytesPerSecond = Number.POSITIVE_INFINITY;
  /** Of rests. */
  #without: Float64Array | undefined;
  /** Since the limit was last changed. */
  #with: Observation | undefined;
  #idleSeconds = 0;
  #unrestedSeconds = 0;

  constructor(options: LimitOptions) {
    this.#options = options;
  }

  /** Infinity: guests are idle. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  get isFree(): boolean {
    return this.#bytesPerSecond === Number.POSITIVE_INFINITY;
  }

  /** Whether the work has to rest for the guests to be seen without it. */
  get wantsRest(): boolean {
    if (this.isFree) return false;
    return this.#without === undefined || this.#unrestedSeconds >= restEverySeconds;
  }

  /** Whether a rest has told enough. */
  static tellsEnough({ latencies, seconds }: Observation): boolean {
    const isMuch = countOf(latencies) >= requestsToCompare;
    return seconds >= (isMuch ? compareSecondsMin : compareSecondsMax);
  }

  /** Guests were seen without the work. */
  rested({ latencies }: Observation): void {
    this.#unrestedSeconds = 0;
    this.#with = undefined;
    const older = this.#without;
    this.#without = older === undefined ? latencies : blended(latencies, older, restWeight);
  }

  /** The work went on. */
  worked(observation: Observation): void {
    const { seconds, latencies } = observation;
    this.#idleSeconds = countOf(latencies) === 0 ? this.#idleSeconds + seconds : 0;
    if (this.#idleSeconds >= idleSecondsMin) return this.#release();
    if (this.#idleSeconds > 0 && this.isFree) return;
    if (this.isFree) this.#bytesPerSecond = cautiousBytesPerSecond;
    this.#unrestedSeconds += seconds;
    this.#with = together(observation, this.#with);
    if (BackgroundLimit.tellsEnough(this.#with)) this.#compare(this.#with);
  }

  /** What guests do when they come back may be something else. */
  #release(): void {
    this.#bytesPerSecond = Number.POSITIVE_INFINITY;
    this.#without = undefined;
    this.#with = undefined;
    this.#unrestedSeconds = 0;
  }

  #compare({ latencies, movedBytes, seconds }: Observation): void {
    const strain = this.#strain(latencies);
    this.#with = undefined;
    if (strain === undefined) return;
    const reached = movedBytes / seconds;
    if (strain > 1) {
      const slower = Math.min(shrinkMax, Math.max(shrinkMin, 1 / strain));
      // What was reached may be less than what was allowed: that would be no change.
      const present = Math.min(this.#bytesPerSecond, Math.max(reached, floorBytesPerSecond));
      this.#bytesPerSecond = Math.max(floorBytesPerSecond, present * slower);
    } else if (strain < roomShare && this.#bytesPerSecond < headroom * reached) {
      this.#bytesPerSecond *= growth;
    }
  }

  /** The latency, 1 being as much as is allowed; undefined: there were too few requests to tell. */
  #strain(latencies: Float64Array): number | undefined {
    const without = this.#without;
    if (without === undefined) return undefined;
    const { bounds, factor } = this.#options;
    const fewest = Math.min(countOf(latencies), countOf(without));
    if (fewest < requestsMin) return undefined;
    const share = Math.min(0.99, 1 - 1 / fewest);
    return quantile(latencies, bounds, share) / quantile(without, bounds, share) / factor;
  }
}

function together(observation: Observation, before: Observation | undefined): Observation {
  if (before === undefined) return observation;
  return {
    seconds: before.seconds + observation.seconds,
    latencies: blended(observation.latencies, before.latencies, 1),
    movedBytes: before.movedBytes + observation.movedBytes,
  };
}
