// Goal: what people and scripts read is stable: tables, sizes, durations, progress, quoting, errors.
// Method: pure functions, pinned.
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errorCodes, StorageError } from '../../src/base/errors.ts';
import { Context, type GlobalOptions } from '../../src/cli/context.ts';
import { formatDuration, heldText, parseDuration, parseSince } from '../../src/cli/duration.ts';
import { errorText, problemError, toCommandError } from '../../src/cli/errors.ts';
import { absoluteAddress, absoluteUri } from '../../src/cli/paths.ts';
import { progressText } from '../../src/cli/progress.ts';
import { shellLine } from '../../src/cli/shell.ts';
import { card, table } from '../../src/cli/table.ts';

const options: GlobalOptions = { output: 'table', header: true, wait: true };
const context = new Context(options);
const columns = [
  { title: 'NAME', value: (item: { name: string; size: number }) => item.name },
  { title: 'SIZE', right: true, value: (item: { size: number }) => context.size(item.size) },
  { title: 'NOTE', wide: true, value: () => 'two\nlines' },
];
const items = [
  { name: 'a', size: 1024 },
  { name: 'longer', size: 10 * 1024 ** 3 },
];

test('a table aligns, bare it is tabs', () => {
  expect(table(columns, items, { wide: false, bare: false })).toBe(
    'NAME     SIZE\na        1KiB\nlonger  10GiB\n',
  );
  expect(table(columns, items, { wide: true, bare: true })).toBe(
    'a\t1KiB\ttwo lines\nlonger\t10GiB\ttwo lines\n',
  );
  expect(card(columns, items[0] as never, { wide: true, bare: false })).toBe(
    'name  a\nsize  1KiB\nnote  two lines\n',
  );
});

test('exact sizes are bytes', () => {
  expect(new Context({ ...options, exact: true }).size(10 * 1024 ** 3)).toBe('10737418240');
});

test.each([
  ['500ms', 500],
  ['30s', 30_000],
  ['1.5m', 90_000],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
  ['7', 7000],
])('%s is %i ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test('durations are short', () => {
  expect([0, 999, 61_000, 3_600_000, 100_000_000].map(formatDuration)).toEqual([
    '0s',
    '1s',
    '1m 1s',
    '1h',
    '1d 3h',
  ]);
});

test('how long writes were held is told in the unit that fits', () => {
  expect([0, 0.0031, 0.9999, 1.25].map(heldText)).toEqual([
    'no write had to wait',
    'writes were held for 3.1 ms',
    'writes were held for 999.9 ms',
    'writes were held for 1.3 s',
  ]);
});

test('a point in time is ago or absolute', () => {
  expect(parseSince('2h', Date.parse('2026-01-01T02:00:00Z'))).toBe('2026-01-01T00:00:00.000Z');
  expect(parseSince('2026-01-01', 0)).toBe('2026-01-01T00:00:00.000Z');
});

test('paths become absolute, other URIs stay', () => {
  const here = process.cwd();
  expect(absoluteUri('disk.img?size=1GiB')).toBe(`${here}/disk.img?size=1GiB`);
  expect(absoluteUri('file:x')).toBe(`file:${here}/x`);
  expect(absoluteUri('/a')).toBe('/a');
  expect(absoluteUri('nfs://host/x')).toBe('nfs://host/x');
  expect(absoluteAddress('unix:x.sock')).toBe(`unix:${here}/x.sock`);
  expect(absoluteAddress('tcp:h:1')).toBe('tcp:h:1');
});

test('a shell reads a quoted line back', () => {
  const argument = fc.string().filter((text) => !text.includes('\0'));
  const property = fc.property(fc.array(argument, { maxLength: 5 }), (args) => {
    const script = `for a in "$@"; do printf '%s\\0' "$a"; done`;
    const echo = `set -- ${shellLine(args)}\n${script}`;
    const read = execFileSync('sh', ['-c', echo], { encoding: 'utf8' });
    expect(read.split('\0').slice(0, -1)).toEqual(args);
  });
  // fast-check prints seed and path of a failure.
  fc.assert(property, { numRuns: 30 });
});

test('progress tells rate and time left', () => {
  const operation = {
    id: 'op-1',
    operation: 'volume-create',
    target: 'gold',
    state: 'running' as const,
    phase: 'taking space',
    parameters: {},
    progress: { done_bytes: 512 * 1024 ** 2, total_bytes: 1024 ** 3 },
    error: null,
    created_at: '',
    finished_at: null,
  };
  expect(progressText(context, operation, 2000)).toBe(
    'op-1 taking space gold  50%  256MiB/s  2s left',
  );
  const progress = { ...operation.progress, bytes_per_second: 1, held_back_by: 'guests' as const };
  expect(progressText(context, { ...operation, progress }, 2000)).toBe(
    'op-1 taking space gold  50%  256MiB/s, held back by guests  2s left',
  );
});

test('an error is what happened, what to do, and a code', () => {
  const error = problemError({
    code: 'volume/busy',
    detail: 'it is exported',
    actions: ['a', 'b'],
  });
  expect(errorText(error)).toBe(
    'error: it is exported\n  try:   a\n  try:   b\n  code:  volume/busy\n',
  );
});

test('every code ends with its exit status', () => {
  const exits = Object.keys(errorCodes).map((code) => {
    const error = toCommandError(new StorageError(code as keyof typeof errorCodes, 'x'));
    return [code, error.exit];
  });
  expect(Object.fromEntries(exits)).toMatchSnapshot();
});

test('a code of a newer service fails with 1', () => {
  expect(problemError({ code: 'pool/novel', detail: 'x', actions: [] }).exit).toBe(1);
});
