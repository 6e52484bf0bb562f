// Goal: an operator who scrubs reads exactly what is damaged, as text and as JSON, gets exit status 7, and no client ever reads wrong data again.
// Method: a service in this process with the native addon, a real NBD client, a bit flipped in the backing file; then a restart.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/api/config.ts';
import { Service } from '../../src/api/service.ts';
import { NbdClient } from '../../src/cli/nbd-client.ts';
import { flipAt } from '../scrub/at-rest.ts';
import { runCaptured } from './capture.ts';

const folder = mkdtempSync(join(tmpdir(), 'varve-scrub-'));
const state = join(folder, 'state');
const server = `unix:${state}/varve.sock`;
const disk = join(folder, 'disk.img');
const marker = Buffer.alloc(65536, 'what lies here is told apart');
let service: Service;

beforeAll(async () => {
  service = await start();
});
afterAll(async () => {
  await service.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<Service> {
  return Service.start(await loadConfig({ state }), pino({ level: 'silent' }));
}

const varve = (...argv: string[]) => runCaptured(server, ...argv);

async function done(...argv: string[]): Promise<string> {
  const { exit, stdout, stderr } = await varve(...argv, '-y');
  expect({ exit, stderr: exit === 0 ? '' : stderr }).toEqual({ exit: 0, stderr: '' });
  return stdout;
}

async function readsOf(name: string, offset: number): Promise<string> {
  const client = await NbdClient.connect(`${state}/nbd.sock`, name);
  try {
    const bytes = await client.read(offset, 4096);
    return bytes.equals(marker.subarray(0, 4096)) ? 'right' : 'wrong';
  } catch (error) {
    return String(error);
  } finally {
    client.close();
  }
}

test('damage is told exactly, with 7, and is an error from then on', async () => {
  await done('pool', 'create', 'p', `${disk}?size=256MiB`);
  await done('volume', 'create', 'v', '--size', '64MiB');
  await done('export', 'add', 'v');
  const client = await NbdClient.connect(`${state}/nbd.sock`, 'v');
  await client.write(3 * 65536, marker);
  await client.write(5 * 65536, marker);
  await client.flush();
  client.close();
  await done('snapshot', 'create', 'v@s');
  await done('export', 'add', 'v@s', '--name', 'frozen');
  expect(await done('pool', 'scrub', 'p', '-n')).toContain('would pool scrub p');
  expect(await done('pool', 'scrub', 'p')).toBe('');

  flipAt(disk, readFileSync(disk).indexOf(marker) + 5000);
  expect((await varve('pool', 'scrub', 'p')).exit).toBe(7);
  const text = await varve('pool', 'scrub', 'p');
  expect(text.exit).toBe(7);
  expect(
    text.stdout
      .split('\n')
      .slice(1, -1)
      .map((line) => line.split(/ {2,}/).slice(0, 5)),
  ).toEqual([
    ['damage', 'data/damaged', 'v', expect.any(String), '64KiB'],
    ['damage', 'data/damaged', 'v@s', expect.any(String), '64KiB'],
  ]);
  expect(text.stderr).toContain('code:  data/damaged');

  const json = await varve('disk', 'scrub', 'p/0', '-o', 'json');
  expect(json.exit).toBe(7);
  const { id, findings } = JSON.parse(json.stdout);
  const at = findings[0].offset_bytes;
  expect([3 * 65536, 5 * 65536]).toContain(at);
  const extent = { severity: 'damage', volume: 'v', offset_bytes: at, length_bytes: 65536 };
  expect(findings).toMatchObject([
    { ...extent, snapshot: null },
    { ...extent, snapshot: 's' },
  ]);
  expect((await varve('op', 'wait', id)).exit).toBe(7);
  const { findings: kept } = JSON.parse((await varve('op', 'show', id, '-o', 'json')).stdout);
  expect(kept).toEqual(findings);
  expect((await varve('events', '-o', 'json')).stdout).toContain('data/damaged');
  expect((await varve('status')).stdout).toContain('varve pool scrub p');

  const beside = at === 3 * 65536 ? 5 * 65536 : 3 * 65536;
  const expected = async () => {
    for (const name of ['v', 'frozen']) {
      expect(await readsOf(name, at)).toContain('error 5');
      expect(await readsOf(name, beside)).toBe('right');
    }
  };
  await expected();
  await service.stop();
  service = await start();
  await expected();
});

test('overwritten and deleted, it is whole again', async () => {
  const client = await NbdClient.connect(`${state}/nbd.sock`, 'v');
  for (const at of [3, 5]) await client.write(at * 65536, marker);
  await client.flush();
  client.close();
  expect(await readsOf('v', 3 * 65536)).toBe('right');
  expect(await readsOf('v', 5 * 65536)).toBe('right');
  await done('export', 'remove', 'frozen', '--disconnect');
  await done('snapshot', 'delete', 'v@s');
  await expect.poll(async () => (await varve('pool', 'scrub', 'p')).exit).toBe(0);
});

test('there is nothing to scrub where there is no pool or disk', async () => {
  expect((await varve('pool', 'scrub', 'none')).exit).toBe(3);
  expect((await varve('disk', 'scrub', 'none')).exit).toBe(3);
});
