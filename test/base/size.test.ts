// Goal: sizes are read as cli.md section 1 says, exactly or not at all.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatSize, parseSize } from '../../src/base/size.ts';

test.each([
  ['4096', 4096],
  ['512B', 512],
  ['10KiB', 10240],
  ['10GiB', 10 * 2 ** 30],
  ['10Gi', 10 * 2 ** 30],
  ['10G', 10 * 2 ** 30],
  ['10gib', 10 * 2 ** 30],
  ['10GB', 10e9],
  ['1.5GiB', 1.5 * 2 ** 30],
  ['0.1GB', 1e8],
  ['1PiB', 2 ** 50],
])('%s is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each([
  '',
  '0',
  '0GiB',
  '-1',
  '-1GiB',
  '1.5',
  '0.1GiB',
  '1e3',
  'GiB',
  '10 GiB',
  '10Q',
  '1.GiB',
  '9PB9',
  '9000PiB',
  '١GiB',
])('%j is refused', (text) => {
  expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: 'request/invalid' }));
});

test('sizes are written with the largest fitting unit', () => {
  expect([0, 512, 1024, 1536, 2 ** 30, 2 ** 60].map(formatSize)).toEqual([
    '0B',
    '512B',
    '1KiB',
    '1.5KiB',
    '1GiB',
    '1024PiB',
  ]);
});

test('whole units survive writing and reading', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1023 }),
      fc.integer({ min: 0, max: 4 }),
      (count, power) => {
        const bytes = count * 1024 ** power;
        expect(parseSize(formatSize(bytes))).toBe(bytes);
      },
    ),
  );
});
