/**
 * What a soak comes to, judged from its figures. Pure.
 *
 * Memory and descriptors are judged in the life of one process, after its warm-up, by the least of each window: what is given back between two bursts
 * of work counts as given back. A leak raises the least of every window; a burst, a late collection or a busy machine does not.
 */
import { quantile } from '../torture/report.ts';

export interface Sample {
  readonly seconds: number;
  readonly pid: number;
  readonly residentBytes: number;
  readonly descriptors: number;
}

export interface Figures {
  readonly samples: readonly Sample[];
  /** Milliseconds from the start to serving, of each start in turn. */
  readonly startsMs: readonly number[];
  /** What was lost, refused or found wrong, a sentence each. */
  readonly violations: readonly string[];
  /** Counts by what was done, for the table. */
  readonly done: Readonly<Record<string, number>>;
}

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
}

const MiB = 1024 * 1024;
/** The first third of a life fills caches and pools of buffers. */
const warmUpPart = 1 / 3;
const windows = 4;
/** A sample a second: a life of less than three minutes is still warming up, and says nothing. */
const windowSamplesMin = 30;
/** More than a heap's usual unrest, far less than a leak of a busy hour. */
const memoryGrowth = { factor: 1.25, slack: 96 * MiB };
/** Connections of clients and open files of the index come and go. */
const descriptorGrowth = { factor: 1, slack: 32 };
/** Beyond what a busy machine does to a start that has no more to read than the one before. */
const startGrowth = { factor: 3, slackMs: 10_000 };

export function judge(figures: Figures): Check[] {
  const { violations, samples, startsMs } = figures;
  const bytes = (value: number) => `${(value / MiB).toFixed(0)} MiB`;
  return [
    {
      name: 'nothing lost, refused or found wrong',
      ok: violations.length === 0,
      found: violations.length === 0 ? 'nothing' : `${violations.length} violations`,
    },
    growth('resident memory', samples, (each) => each.residentBytes, memoryGrowth, bytes),
    growth('open descriptors', samples, (each) => each.descriptors, descriptorGrowth, String),
    starts(startsMs),
  ];
}

function growth(
  name: string,
  samples: readonly Sample[],
  quantityOf: (sample: Sample) => number,
  { factor, slack }: { readonly factor: number; readonly slack: number },
  text: (value: number) => string,
): Check {
  const values = lastLife(samples).map(quantityOf);
  const settled = values.slice(Math.floor(values.length * warmUpPart));
  const length = Math.floor(settled.length / windows);
  if (length < windowSamplesMin) return { name, ok: true, found: 'too short a life to judge' };
  const least = Array.from({ length: windows }, (_, at) =>
    Math.min(...settled.slice(at * length, (at + 1) * length)),
  );
  const limit = (least[0] as number) * factor + slack;
  return {
    name,
    ok: (least.at(-1) as number) <= limit,
    found: `${least.map(text).join(', ')} at the least (limit ${text(limit)})`,
  };
}

/** The samples of the process that was there at the end. */
function lastLife(samples: readonly Sample[]): readonly Sample[] {
  const pid = samples.at(-1)?.pid;
  return samples.filter((sample) => sample.pid === pid);
}

function starts(startsMs: readonly number[]): Check {
  const name = 'start to serving';
  const half = Math.floor(startsMs.length / 2);
  const before = quantile(startsMs.slice(0, half), 0.5);
  const after = quantile(startsMs.slice(half), 0.5);
  if (before === undefined || after === undefined) return { name, ok: true, found: 'no kills' };
  const longest = Math.max(...startsMs).toFixed(0);
  return {
    name,
    ok: after <= before * startGrowth.factor + startGrowth.slackMs,
    found: `${before.toFixed(0)} ms, later ${after.toFixed(0)} ms in the middle; ${longest} ms at most`,
  };
}
