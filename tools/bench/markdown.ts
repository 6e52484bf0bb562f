/** docs/bench.md, as the benchmark writes it. Pure. */
import type { Comparison } from './compare.ts';
import { figureRows, ratioRows } from './report.ts';
import { isMissed } from './verdict.ts';

export interface Section {
  readonly title: string;
  readonly comparisons: readonly Comparison[];
}

/** @param about how, when and where it was measured, a line each */
export function markdownReport(about: readonly string[], sections: readonly Section[]): string {
  const goals = sections.flatMap(({ comparisons }) => comparisons);
  const parts = [
    '# varve beside other NBD servers',
    'Written by `npm run bench -- --report docs/bench.md`; not by hand. Ratios are of medians: varve ÷ the best of the peers. ' +
      '`thin` peers allocate as varve does (qcow2), `raw` ones neither allocate nor snapshot, the `ceiling` has no disk at all. ' +
      'Where a server failed, or data was not what was written, nothing is compared.',
    about.map((line) => `* ${line}`).join('\n'),
    '## Where a goal is missed',
    missedList(goals),
    ...sections.flatMap(sectionParts),
  ];
  return `${parts.join('\n\n')}\n`;
}

function missedList(comparisons: readonly Comparison[]): string {
  const lines = comparisons.flatMap(({ name, checks, failures }) => {
    if (checks === undefined) return [`* ${name}: not compared. ${failures.join('; ')}`];
    const missed = checks.filter(isMissed);
    if (missed.length === 0) return [];
    const which = missed.map(({ of, ratio, limit, sense }) => {
      const wanted = `${sense} ${limit}`;
      return `${of} is ${ratio.toFixed(2)} (${wanted})`;
    });
    return [`* ${name}: ${which.join(', ')}`];
  });
  return lines.length === 0 ? 'Nowhere.' : lines.join('\n');
}

function sectionParts({ title, comparisons }: Section): string[] {
  return [
    `## ${title}`,
    markdownTable(ratioRows(comparisons)),
    ...comparisons.flatMap(({ name, rows }) => [`**${name}**`, markdownTable(figureRows(rows))]),
  ];
}

/** The first row is the header. */
function markdownTable([header = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = header.map((_, column) => (column === 0 ? '---' : '---:'));
  return [line(header), line(rule), ...rows.map(line)].join('\n');
}
