/** Comparisons as text tables and as a JSON document. Pure. */
import type { Comparison, Row } from './compare.ts';
import { type Check, isMissed } from './verdict.ts';

/** One block per workload: the servers' medians, then varve's ratios with their goals. */
export function textReport(comparisons: readonly Comparison[]): string {
  return [...comparisons.map(block), table(ratioRows(comparisons))].join('\n');
}

/** Everything that the text says, unrounded, for keeping and comparing over time. */
export function jsonReport(comparisons: readonly Comparison[], about: Record<string, unknown>) {
  return {
    ...about,
    workloads: comparisons.map(({ checks, ...comparison }) => ({
      ...comparison,
      checks: checks?.map((check) => ({ ...check, missed: isMissed(check) })) ?? null,
    })),
  };
}

function block({ name, rows, failures }: Comparison): string {
  const failed = failures.map((failure) => `  failed: ${failure}\n`).join('');
  return `${name}\n${table(figureRows(rows))}${failed}`;
}

/** Servers' medians with their least and most, a header first. */
export function figureRows(rows: readonly Row[]): string[][] {
  const header = ['', 'IOPS', 'MB/s', 'p50 µs', 'p99 µs', 'CPU µs/IO', 'peak MiB'];
  return [header, ...rows.map((row) => [row.server, ...figureCells(row)])];
}

function figureCells({ median, least, most }: Row): string[] {
  const spread = (field: 'iops' | 'p99Us' | 'cpuUsPerIo', digits = 0) =>
    `${median[field].toFixed(digits)} (${least[field].toFixed(digits)}–${most[field].toFixed(digits)})`;
  return [
    spread('iops'),
    (median.bytesPerSecond / 1e6).toFixed(0),
    median.p50Us.toFixed(0),
    spread('p99Us'),
    spread('cpuUsPerIo', 1),
    median.memoryPeakMiB.toFixed(0),
  ];
}

/** A line per workload and a column per kind of check, with its goal; a header first. */
export function ratioRows(comparisons: readonly Comparison[]): string[][] {
  const columns = new Set(comparisons.flatMap(({ checks = [] }) => checks.map(({ of }) => of)));
  const header = ['varve ÷ best peer (goal)', ...columns, 'verdict'];
  const rows = comparisons.map(({ name, checks }) => {
    if (checks === undefined) return [name, ...[...columns].map(() => '-'), 'not compared'];
    const cells = [...columns].map((column) => cell(checks.find(({ of }) => of === column)));
    return [name, ...cells, verdict(checks)];
  });
  return [header, ...rows];
}

function cell(check: Check | undefined): string {
  if (check === undefined) return '-';
  const { ratio, limit, sense } = check;
  if (limit === undefined) return ratio.toFixed(2);
  const sign = sense === 'at least' ? '≥' : '≤';
  return `${ratio.toFixed(2)} (${sign} ${limit}${isMissed(check) ? ', missed' : ''})`;
}

function verdict(checks: readonly Check[]): string {
  if (checks.every(({ limit }) => limit === undefined)) return '-';
  return checks.some(isMissed) ? 'missed' : 'reached';
}

/** Columns as wide as their widest cell; the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    // A lone remark beside a name must not widen the column for everybody.
    Math.max(
      ...rows.filter((row) => row.length === columns).map((row) => row[column]?.length ?? 0),
    ),
  );
  const lines = rows.map((row) =>
    row
      .map((text, column) =>
        column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
  return `${lines.map((line) => `  ${line.trimEnd()}`).join('\n')}\n`;
}
