/** Medians of the chain benchmarks and their text tables. Pure. */
import type { Figures } from './chain-session.ts';
import { median, medianOf } from './compare.ts';
import type { Measurement } from './fio.ts';
import { table } from './report.ts';

/** Rounds of one kind of disk as one: the median of every figure. */
export function medianFigures(rounds: readonly Figures[]): Figures {
  const names = new Set(rounds.flatMap((figures) => [...figures.keys()]));
  return new Map([...names].map((name) => [name, medianFigure(rounds, name)]));
}

function medianFigure(rounds: readonly Figures[], name: string): Measurement | number {
  const all = rounds.flatMap((figures) => figures.get(name) ?? []);
  const numbers = all.filter((figure) => typeof figure === 'number');
  if (numbers.length > 0) return median(numbers);
  return medianOf(all.filter((figure) => typeof figure !== 'number'));
}

/**
 * One line per kind and figure. `÷ first` compares IOPS with the same kind's first figure: what the snapshot or the
 * depth costs; `own ÷ it` compares the IOPS of kind `own` with this line's.
 */
export function chainTable(kinds: ReadonlyMap<string, Figures>, own: string): string {
  const header = ['', 'IOPS', '÷ first', `${own} ÷ it`, 'p50 µs', 'p99 µs', 'CPU µs/IO', 'figure'];
  const lines = [...kinds].flatMap(([kind, figures]) => {
    const first = [...figures.values()].find((figure) => typeof figure !== 'number');
    return [...figures].map(([name, figure]) => {
      const title = `${kind}: ${name}`;
      if (typeof figure === 'number') {
        return [title, '-', '-', '-', '-', '-', '-', figure.toPrecision(3)];
      }
      return [
        title,
        figure.iops.toFixed(0),
        ratio(figure, first),
        ratio(kinds.get(own)?.get(name), figure),
        figure.p50Us.toFixed(0),
        figure.p99Us.toFixed(0),
        figure.cpuUsPerIo.toFixed(1),
        '-',
      ];
    });
  });
  return table([header, ...lines]);
}

function ratio(
  one: Measurement | number | undefined,
  other: Measurement | number | undefined,
): string {
  if (typeof one !== 'object' || typeof other !== 'object') return '-';
  return (one.iops / other.iops).toFixed(2);
}
