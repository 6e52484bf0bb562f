/**
 * Coverage: in how many of the judged states something was so, by what it was. Plain data, as it goes from process to process.
 */

export type Counts = Record<string, number>;

export interface Coverage {
  /** Of the operations that were under way at the cut. */
  readonly operations: Counts;
  /** Of the records that stood in a journal behind its checkpoint. */
  readonly records: Counts;
}

export function noCoverage(): Coverage {
  return { operations: {}, records: {} };
}

/** One state more in which all of these were so. */
export function countAll(counts: Counts, kinds: Iterable<string>): void {
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1;
}

export function addCoverage(to: Coverage, { operations, records }: Coverage): void {
  addCounts(to.operations, operations);
  addCounts(to.records, records);
}

function addCounts(to: Counts, added: Counts): void {
  for (const [kind, count] of Object.entries(added)) to[kind] = (to[kind] ?? 0) + count;
}

/** Two tables in words, the most frequent first. */
export function describeCoverage({ operations, records }: Coverage): string {
  return [
    ...table('operations under way at the cut', operations),
    '',
    ...table('records in the journals that were replayed', records),
  ].join('\n');
}

function table(title: string, counts: Counts): string[] {
  const rows = Object.entries(counts).sort(([, a], [, b]) => b - a);
  return [
    `states  ${title}`,
    ...rows.map(([kind, count]) => `${String(count).padStart(6)}  ${kind}`),
  ];
}
