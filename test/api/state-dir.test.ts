// Goal: one living process holds a state folder; a killed one does not hold it for ever.
// Method: real folders; holders that live, that are dead, and whose pid went to somebody else.
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StateDir } from '../../src/api/state-dir.ts';

let folder: string;
let state: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-state-'));
  state = join(folder, 'state');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lock = () => join(state, 'lock');

test('a fresh folder is private, versioned and locked; releasing leaves only the version', async () => {
  const held = await StateDir.take(state);
  expect(statSync(state).mode & 0o777).toBe(0o700);
  expect(readFileSync(join(state, 'version'), 'utf8')).toBe('1\n');
  await expect(StateDir.take(state)).rejects.toMatchObject({ code: 'service/state-held' });
  await held.release();
  expect(readdirSync(state)).toEqual(['version']);
});

test.each([
  ['of a process that is gone', () => JSON.stringify({ ...holder(), pid: 2 ** 22 })],
  ['of a pid that another process has now', () => JSON.stringify({ ...holder(), startTicks: '1' })],
  ['of another boot', () => JSON.stringify({ ...holder(), boot: 'other' })],
  ['that is no lock at all', () => '{'],
])('a lock %s is taken over', async (_, content) => {
  await (await StateDir.take(state)).release();
  writeFileSync(lock(), content());
  const held = await StateDir.take(state);
  await expect(StateDir.take(state)).rejects.toMatchObject({ code: 'service/state-held' });
  await held.release();
  expect(readdirSync(state)).toEqual(['version']);
});

/** This process, as a lock names it. */
function holder() {
  const stat = readFileSync(`/proc/${process.pid}/stat`, 'utf8');
  const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return { pid: process.pid, startTicks, boot };
}

test('of several that find a dead holder at once, one takes the folder', async () => {
  await (await StateDir.take(state)).release();
  writeFileSync(lock(), JSON.stringify({ ...holder(), boot: 'other' }));
  const results = await Promise.allSettled([1, 2, 3].map(() => StateDir.take(state)));
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
});

test('another version is refused, unlocked and unchanged', async () => {
  await (await StateDir.take(state)).release();
  writeFileSync(join(state, 'version'), '7\n');
  await expect(StateDir.take(state)).rejects.toMatchObject({ code: 'service/state-version' });
  expect(readdirSync(state)).toEqual(['version']);
  expect(readFileSync(join(state, 'version'), 'utf8')).toBe('7\n');
});

test('a folder that cannot be made is said', async () => {
  writeFileSync(state, 'a file');
  await expect(StateDir.take(state)).rejects.toMatchObject({ code: 'service/config' });
  chmodSync(folder, 0o700);
});
