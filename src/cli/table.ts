/**
 * Borderless tables: columns two spaces apart, numbers to the right. Pure.
 */

export interface Column<T> {
  readonly title: string;
  readonly value: (item: T) => string;
  /** Only with `-o wide`. */
  readonly wide?: boolean;
  /** Numbers and sizes. */
  readonly right?: boolean;
}

export interface TableOptions {
  readonly wide: boolean;
  /** No header, tabs between columns: for scripts. */
  readonly bare: boolean;
}

export function table<T>(
  columns: readonly Column<T>[],
  items: readonly T[],
  options: TableOptions,
): string {
  const shown = columns.filter((column) => options.wide || column.wide !== true);
  const rows = items.map((item) => shown.map((column) => oneLine(column.value(item))));
  if (options.bare) return lines(rows.map((row) => row.join('\t')));
  if (items.length === 0) return '';
  const all = [shown.map((column) => column.title), ...rows];
  const widths = shown.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  return lines(
    all.map((row) =>
      row
        .map((cell, at) => padded(cell, widths[at] ?? 0, shown[at]?.right ?? false))
        .join('  ')
        .trimEnd(),
    ),
  );
}

/** One item, a line per column. */
export function card<T>(columns: readonly Column<T>[], item: T, options: TableOptions): string {
  const width = Math.max(...columns.map((column) => column.title.length));
  return lines(
    columns.map(({ title, value }) => {
      const name = title.toLowerCase();
      const separator = options.bare ? '\t' : ' '.repeat(width - name.length + 2);
      return `${name}${separator}${oneLine(value(item))}`.trimEnd();
    }),
  );
}

function padded(cell: string, width: number, right: boolean): string {
  return right ? cell.padStart(width) : cell.padEnd(width);
}

/** A message with a line break would tear the table. */
function oneLine(text: string): string {
  return text.replaceAll(/[\r\n\t]+/g, ' ');
}

function lines(rows: readonly string[]): string {
  return rows.map((row) => `${row}\n`).join('');
}
