/** What a run of kills comes to: figures that add up, and the text of the end. Pure. */
import { table } from '../bench/report.ts';

export interface Tally {
  /** Under load and while starting. */
  kills: number;
  killsWhileStarting: number;
  /** Requests that clients had been answered before a kill. */
  acknowledged: number;
  /** Blocks compared with what their client knew. */
  blocksVerified: number;
  snapshots: number;
  deletions: number;
  movements: number;
  checks: number;
  readonly startsMs: number[];
}

export interface Violation {
  readonly seed: number;
  readonly afterKills: number;
  readonly sentences: readonly string[];
  /** Disks and state as they were found; undefined when they could not be kept. */
  readonly evidence?: string;
}

export function emptyTally(): Tally {
  return {
    kills: 0,
    killsWhileStarting: 0,
    acknowledged: 0,
    blocksVerified: 0,
    snapshots: 0,
    deletions: 0,
    movements: 0,
    checks: 0,
    startsMs: [],
  };
}

/** Adds one life's figures to the run's. */
export function add(sum: Tally, part: Tally): void {
  sum.kills += part.kills;
  sum.killsWhileStarting += part.killsWhileStarting;
  sum.acknowledged += part.acknowledged;
  sum.blocksVerified += part.blocksVerified;
  sum.snapshots += part.snapshots;
  sum.deletions += part.deletions;
  sum.movements += part.movements;
  sum.checks += part.checks;
  sum.startsMs.push(...part.startsMs);
}

export function progressLine({ kills, acknowledged, checks }: Tally, goal: number): string {
  return `${kills} of ${goal} kills, ${acknowledged} requests acknowledged, ${checks} checks`;
}

/** @param options.repeat the command that does a life again, given its seed */
export function textReport(
  tally: Tally,
  violations: readonly Violation[],
  options: { readonly seconds: number; readonly repeat: (seed: number) => string },
): string {
  const rows = [
    ['kills', String(tally.kills)],
    ['of them while starting', String(tally.killsWhileStarting)],
    ['requests acknowledged', String(tally.acknowledged)],
    ['blocks verified', String(tally.blocksVerified)],
    ['snapshots taken', String(tally.snapshots)],
    ['snapshots deleted', String(tally.deletions)],
    ['movements ended', String(tally.movements)],
    ['pool checks', String(tally.checks)],
    ['start to serving, median', milliseconds(quantile(tally.startsMs, 0.5))],
    ['start to serving, longest', milliseconds(quantile(tally.startsMs, 1))],
    ['took', `${options.seconds.toFixed(0)} s`],
  ];
  const broken = violations.map(({ seed, afterKills, sentences, evidence }) =>
    [
      `broken after ${afterKills} kills of life ${seed}:`,
      ...sentences.map((sentence) => `  ${sentence}`),
      `  again: ${options.repeat(seed)}`,
      ...(evidence === undefined ? [] : [`  kept:  ${evidence}`]),
      '',
    ].join('\n'),
  );
  const verdict =
    violations.length === 0
      ? 'nothing was lost'
      : `${violations.length} ${violations.length === 1 ? 'life' : 'lives'} broke a promise`;
  return `${broken.join('')}${table(rows)}${tally.kills} kills: ${verdict}\n`;
}

/** Of unsorted numbers; undefined of none. */
export function quantile(values: readonly number[], part: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? '-' : `${value.toFixed(0)} ms`;
}
