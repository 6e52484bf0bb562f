/**
 * Timeline of a life: which operations were under way at which moment of the recorded disks, and from when on more was promised.
 */
import type { Random } from './random.ts';

interface Span {
  readonly operation: string;
  readonly from: number;
  to: number;
}

export class Timeline {
  readonly #now: () => number;
  readonly #spans: Span[] = [];
  /** In order. */
  readonly #promises: number[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  now(): number {
    return this.#now();
  }

  /** The present moment, from which on something is promised. */
  promised(): number {
    const moment = this.#now();
    this.#promises.push(moment);
    return moment;
  }

  /** How many promises had been given by then: the same number, the same promises. */
  promisesBy(moment: number): number {
    const later = this.#promises.findIndex((given) => given > moment);
    return later < 0 ? this.#promises.length : later;
  }

  /** Notes that the operation is under way while `work` is. */
  async during<T>(operation: string, work: () => Promise<T>): Promise<T> {
    const end = this.begin(operation);
    try {
      return await work();
    } finally {
      end();
    }
  }

  /** As `during`, until the returned function is called. */
  begin(operation: string): () => void {
    const span: Span = { operation, from: this.#now(), to: Number.POSITIVE_INFINITY };
    this.#spans.push(span);
    return () => {
      span.to = this.#now();
    };
  }

  /** Operations that a cut at that moment meets, each once. */
  underWayAt(moment: number): ReadonlySet<string> {
    const met = this.#spans.filter(({ from, to }) => from < moment && moment < to);
    return new Set(met.map(({ operation }) => operation));
  }

  /** A moment in some operation; those that are rare are met as often as those that are not. Undefined when there was none in [from, to). */
  momentIn(random: Random, from: number, to: number): number | undefined {
    const spans = this.#spans.filter((span) => span.from >= from && span.to <= to && isSeen(span));
    const operations = [...new Set(spans.map(({ operation }) => operation))].sort();
    const operation = random.pick(operations);
    const span = random.pick(spans.filter((each) => each.operation === operation));
    return span === undefined ? undefined : span.from + 1 + random.below(span.to - span.from - 1);
  }
}

/** There is a moment between its first change of a disk and its end. */
function isSeen({ from, to }: Span): boolean {
  return to - from > 1;
}
