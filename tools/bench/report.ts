/** A session's comparisons as text tables and as a JSON document. Pure. */
import type { Comparison, Ratios } from './compare.ts';
import type { Workload } from './workloads.ts';

/** One block per workload: the servers' medians, then varve's ratios with their goals. */
export function textReport(comparisons: readonly Comparison[]): string {
  return [...comparisons.map(block), ratiosTable(comparisons)].join('\n');
}

/** Everything that the text says, unrounded, for keeping and comparing over time. */
export function jsonReport(comparisons: readonly Comparison[], about: Record<string, unknown>) {
  return {
    ...about,
    workloads: comparisons.map(({ workload, rows, failures, ratios }) => ({
      ...workload,
      failures,
      ratios: ratios ?? null,
      medians: rows.map(({ server, median }) => ({
        server: server.name,
        role: server.role,
        ...median,
      })),
    })),
  };
}

function block({ workload, rows, failures }: Comparison): string {
  const header = ['', 'IOPS', 'MB/s', 'p50 µs', 'p99 µs', 'CPU µs/IO'];
  const cells = rows.map(({ server, median }) => [
    server.name,
    median.iops.toFixed(0),
    (median.bytesPerSecond / 1e6).toFixed(0),
    median.p50Us.toFixed(0),
    median.p99Us.toFixed(0),
    median.cpuUsPerIo.toFixed(1),
  ]);
  const failed = failures.map((failure) => `  failed: ${failure}\n`).join('');
  return `${workload.name}\n${table([header, ...cells])}${failed}`;
}

function ratiosTable(comparisons: readonly Comparison[]): string {
  const header = ['varve ÷ best peer (goal)', 'thin', 'raw', 'ceiling', 'CPU ÷ thin', 'p99 ÷ best'];
  const rows = comparisons.flatMap(({ workload, ratios, failures }) => {
    if (failures.length > 0) return [[workload.name, 'not compared: a server failed']];
    return ratios === undefined ? [] : [[workload.name, ...ratioCells(ratios, workload)]];
  });
  return rows.length === 0 ? '' : table([header, ...rows]);
}

function ratioCells(ratios: Ratios, { goal }: Workload): string[] {
  return [
    atLeast(ratios.iopsToThin, goal.thin),
    atLeast(ratios.iopsToRaw, goal.raw),
    atLeast(ratios.iopsToCeiling, goal.ceiling),
    atMost(ratios.cpuToThin, goal.cpu),
    atMost(ratios.p99ToBest, 1),
  ];
}

function atLeast(ratio: number | undefined, goal: number | undefined): string {
  return cell(ratio, goal, (value, limit) => value >= limit, '≥');
}

function atMost(ratio: number | undefined, goal: number | undefined): string {
  return cell(ratio, goal, (value, limit) => value <= limit, '≤');
}

function cell(
  ratio: number | undefined,
  goal: number | undefined,
  holds: (ratio: number, goal: number) => boolean,
  sign: string,
): string {
  if (ratio === undefined) return '-';
  if (goal === undefined) return ratio.toFixed(2);
  return `${ratio.toFixed(2)} (${sign} ${goal}${holds(ratio, goal) ? '' : ', missed'})`;
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
