// Goal: `pool salvage` lists, copies into new files alone, says on stdout what is missing, and ends with 7 exactly when something is.
// Method: the command in this process, with no service anywhere, over pools written through the codecs.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { soundPool, soundVolume, writePool } from '../pool/check/pool-files.ts';
import { runCaptured } from './capture.ts';

let folder: string;
let disks: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-cli-'));
  disks = writePool(folder, soundPool(), (disk, number) => {
    // Slot 0 of the volume lies in cluster 30 of disk 0.
    if (number === 0) disk.fill('gold', 30 * 16384, 31 * 16384);
    return undefined;
  });
});
afterEach(() => rmSync(folder, { recursive: true }));

const varve = (...argv: string[]) => runCaptured(`unix:${folder}/nobody.sock`, ...argv);
const out = () => join(folder, 'gold.raw');

test('lists what there is', async () => {
  const { exit, stdout } = await varve('pool', 'salvage', ...disks, '-o', 'json');
  expect(exit).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    api_version: '1',
    kind: 'SalvageList',
    pool: 'main',
    items: [{ name: 'gold', volume: 'gold', snapshot: null, size_bytes: soundVolume.sizeBytes }],
    findings: [],
    lost_changes: [],
  });
});

test('copies a whole volume', async () => {
  const { exit, stdout } = await varve(
    'pool',
    'salvage',
    ...disks,
    '--volume',
    'gold',
    '--to',
    out(),
    '-o',
    'json',
  );
  expect(exit).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    kind: 'Salvage',
    file: out(),
    missing_bytes: 0,
    missing: [],
  });
  const image = readFileSync(out());
  expect(image.length).toBe(soundVolume.sizeBytes);
  expect(image.subarray(0, 16384).equals(Buffer.alloc(16384, 'gold'))).toBe(true);
});

test('says what is missing, and ends with 7', async () => {
  const [first = ''] = disks;
  const listed = await varve('pool', 'salvage', first);
  expect([listed.exit, listed.stderr]).toEqual([
    7,
    expect.stringContaining('disk 1 was not given'),
  ]);
  const copied = await varve(
    'pool',
    'salvage',
    first,
    '--volume',
    'gold',
    '--to',
    out(),
    '-o',
    'json',
  );
  expect(copied.exit).toBe(7);
  // By the journal: one sub-block of slot 2, three of slot 66.
  expect(JSON.parse(copied.stdout)).toMatchObject({
    missing_bytes: 4096,
    missing: [
      { offset_bytes: 2 * 16384, length_bytes: 1024, reason: 'disk-missing' },
      { offset_bytes: 66 * 16384, length_bytes: 3072, reason: 'disk-missing' },
    ],
  });
  expect(copied.stderr).toContain('code:  pool/damaged');
  expect(statSync(out()).size).toBe(soundVolume.sizeBytes);
});

test('-n reads everything and writes nothing', async () => {
  const { exit, stdout } = await varve(
    'pool',
    'salvage',
    ...disks.slice(0, 1),
    '--volume',
    'gold',
    '--to',
    out(),
    '-n',
  );
  expect([exit, stdout]).toEqual([7, expect.stringContaining('disk-missing')]);
  expect(existsSync(out())).toBe(false);
});

test('overwrites nothing', async () => {
  writeFileSync(out(), 'mine');
  const taken = await varve('pool', 'salvage', ...disks, '--volume', 'gold', '--to', out());
  expect([taken.exit, taken.stderr]).toEqual([
    2,
    expect.stringContaining('nothing is overwritten'),
  ]);
  expect(readFileSync(out(), 'utf8')).toBe('mine');
});

test.each([
  [['--to', '/tmp/x'], 2, 'which volume?'],
  [['--volume', 'gold'], 2, 'where to?'],
  [['--volume', 'silver', '-n'], 3, 'there is no silver'],
  [['--volume', 'gold@s', '-n'], 3, 'there is no gold@s'],
])('%j ends with %d', async (options, exit, text) => {
  const outcome = await varve('pool', 'salvage', ...disks, ...options);
  expect([outcome.exit, outcome.stderr]).toEqual([exit, expect.stringContaining(text)]);
});

test('a network disk is not reached', async () => {
  const { exit, stderr } = await varve('pool', 'salvage', 'nfs://127.0.0.1/a');
  expect([exit, stderr]).toEqual([2, expect.stringContaining('only the service reaches')]);
});
