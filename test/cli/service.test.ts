// Goal: the command and the real service do together what cli.md says: documents, exit codes, repetition, restarts.
// Method: a service in this process with the native addon; command lines run against it, in the order of a day's work.
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/api/config.ts';
import { Service } from '../../src/api/service.ts';
import { NbdClient } from '../../src/cli/nbd-client.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { runCaptured } from './capture.ts';

const log = pino({ level: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'varve-cli-'));
const state = join(folder, 'state');
const server = `unix:${state}/varve.sock`;
const disk = (name: string) => join(folder, `${name}.img?size=256MiB`);
let service: Service;

beforeAll(async () => {
  service = await start();
});

afterAll(async () => {
  await service.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<Service> {
  return Service.start(await loadConfig({ state }), log);
}

async function allClientsGone(): Promise<void> {
  await expect.poll(async () => (await document('client', 'list')).items).toEqual([]);
}

const varve = (...argv: string[]) => runCaptured(server, ...argv);

/** A command that must succeed; its JSON document. */
async function document(...argv: string[]): Promise<Record<string, unknown>> {
  const { exit, stdout, stderr } = await varve(...argv, '-o', 'json', '-y');
  expect({ exit, stderr: exit === 0 ? '' : stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, unknown>;
}

test('an empty service is healthy and says what to do first', async () => {
  const { exit, stdout } = await varve('status');
  expect(exit).toBe(0);
  expect(stdout).toMatch(/^health {2}ok\n/);
  expect(stdout).toContain('varve pool create NAME DISK-URI...');
});

test('a pool is planned, created, confirmed', async () => {
  const create = ['pool', 'create', 'main', disk('a'), disk('b')];
  expect((await varve(...create, '-n')).stdout).toMatch(/^would pool create main/);
  expect(existsSync(join(folder, 'a.img'))).toBe(false);
  expect(await document(...create)).toMatchObject({ kind: 'Pool', name: 'main', changed: true });
  expect(await document(...create)).toMatchObject({ changed: false });
  const other = await varve('pool', 'create', 'main', disk('c'));
  expect(other.exit).toBe(4);
  expect(existsSync(join(folder, 'c.img'))).toBe(false);
});

test('a volume is created, confirmed, listed', async () => {
  expect(await document('volume', 'create', 'gold', '--size', '1GiB')).toMatchObject({
    api_version: '1',
    kind: 'Volume',
    name: 'gold',
    pool: 'main',
    size_bytes: 1024 ** 3,
    exclusive_bytes: 0,
    changed: true,
  });
  const again = await varve('vol', 'create', 'gold', '--size', '1GiB');
  expect([again.exit, again.stderr]).toEqual([0, 'volume gold was there already\n']);
  expect((await varve('volume', 'create', 'gold', '--size', '2GiB')).exit).toBe(4);
  expect((await varve('volume', 'ls', '-o', 'name')).stdout).toBe('gold\n');
  expect((await varve('volume', 'list', '-H', '-p')).stdout).toBe(
    'gold\tmain\t1073741824\t0\t0\t-\n',
  );
});

test('an export is added, and read and written through', async () => {
  const added = await document('export', 'add', 'gold');
  expect(added).toMatchObject({ kind: 'Export', state: 'online', changed: true });
  expect((await varve('export', 'uri', 'gold')).stdout).toBe(
    `nbd+unix:///gold?socket=${state}/nbd.sock\n`,
  );
  const client = await NbdClient.connect(`${state}/nbd.sock`, 'gold');
  await client.write(4096, Buffer.alloc(8192, 7));
  await client.flush();
  expect(await client.read(4096, 8192)).toEqual(Buffer.alloc(8192, 7));
  const clients = await document('client', 'list');
  expect(clients.items).toMatchObject([{ export: 'gold', written_bytes: 8192 }]);
  const busy = await varve('export', 'remove', 'gold');
  expect(busy.exit).toBe(4);
  expect(busy.stderr).toContain('varve export remove gold --disconnect');
  client.close();
  await allClientsGone();
});

test('a map tells data from holes', async () => {
  const map = await document('volume', 'map', 'gold');
  expect(map.items).toMatchObject([
    { offset_bytes: 0, hole: false, zero: true },
    { offset_bytes: 4096, length_bytes: 8192, hole: false, zero: false },
    { offset_bytes: 12_288, hole: false, zero: true },
    { offset_bytes: 65_536, hole: true, zero: true },
  ]);
  const part = await document('volume', 'map', 'gold', '--offset', '4096', '--length', '4096');
  expect(part.items).toMatchObject([{ offset_bytes: 4096, length_bytes: 4096, hole: false }]);
});

test('a snapshot is taken, confirmed, and refused once its volume has moved on', async () => {
  const create = ['snapshot', 'create', 'gold@before', '--note', 'upgrade'];
  const taken = await document(...create);
  expect(taken).toMatchObject({ changed: true, items: [{ name: 'before' }] });
  expect(await document(...create)).toEqual({ ...taken, changed: false, pause_seconds: 0 });
  const again = await varve(...create);
  expect([again.exit, again.stderr]).toEqual([0, 'gold@before is there already\n']);
  expect((await varve(...create, '-n')).stdout).toMatch(/^nothing to do: snapshot create gold@b/);
  expect((await varve('snapshot', 'create', 'gold@before')).stderr).toContain('another note');
  const client = await NbdClient.connect(`${state}/nbd.sock`, 'gold');
  await client.write(4096, Buffer.alloc(8192, 7));
  client.close();
  await allClientsGone();
  const late = await varve(...create);
  expect(late.exit).toBe(4);
  expect(late.stderr).toMatch(/^error: snapshot gold@before exists, and volume gold has changed/);
  expect(late.stderr).toContain('varve snapshot diff gold@before');
  expect((await varve(...create, '-n')).exit).toBe(4);
  await document('snapshot', 'delete', 'gold@before');
});

test('an exported volume is neither deleted nor renamed', async () => {
  const refused = await varve('volume', 'delete', 'gold', '-y');
  expect(refused.exit).toBe(4);
  expect(refused.stderr).toContain('it is exported as gold');
  expect((await varve('volume', 'rename', 'gold', 'silver')).exit).toBe(4);
});

test('a volume grows and does not shrink', async () => {
  expect(await document('volume', 'resize', 'gold', '2GiB')).toMatchObject({ size_bytes: 2 ** 31 });
  expect(await document('volume', 'resize', 'gold', '2GiB')).toMatchObject({ changed: false });
  expect((await varve('volume', 'resize', 'gold', '1GiB')).exit).toBe(4);
});

test('a thick volume takes its space; one that does not fit is refused', async () => {
  const thick = await document('volume', 'create', 'thick', '--size', '64MiB', '--thick');
  expect(thick).toMatchObject({ thick: true, exclusive_bytes: 64 * 1024 ** 2, changed: true });
  const { items } = await document('op', 'list');
  expect(items).toMatchObject([
    { operation: 'volume-create', target: 'thick', state: 'succeeded' },
  ]);
  expect((await varve('op', 'wait', 'op-1')).exit).toBe(0);
  expect((await varve('op', 'cancel', 'op-1')).exit).toBe(4);
  expect((await varve('volume', 'create', 'huge', '--size', '1TiB', '--thick')).exit).toBe(6);
  expect((await varve('volume', 'delete', 'thick', '-y')).exit).toBe(0);
});

test('a thick volume that nobody waits for is an id', async () => {
  const { stdout } = await varve(
    'volume',
    'create',
    'later',
    '--size',
    '64MiB',
    '--thick',
    '--no-wait',
  );
  expect(stdout).toBe('op-2\n');
  expect((await varve('op', 'wait', 'op-2', '--timeout', '30s')).exit).toBe(0);
  expect((await varve('volume', 'delete', 'later', '-y')).exit).toBe(0);
});

test.each([
  [['volume', 'show', 'none'], 3, 'volume/not-found'],
  [['pool', 'show', 'none'], 3, 'pool/not-found'],
  [['disk', 'show', 'none'], 3, 'disk/not-found'],
  [['export', 'show', 'none'], 3, 'export/not-found'],
  [['op', 'show', 'op-99'], 3, 'op/not-found'],
  [['volume', 'create', 'a@b', '--size', '1GiB'], 2, 'request/invalid'],
  [['volume', 'create', 'a/b', '--size', '1GiB'], 2, 'request/invalid'],
  [['volume', 'create', 'tiny', '--size', '1'], 2, 'request/invalid'],
  [['volume', 'create', 'vast', '--size', '2PiB'], 2, 'request/invalid'],
  [['volume', 'create', 'x', '--size', '1GiB', '--pool', 'none'], 3, 'pool/not-found'],
  [['export', 'add', 'none'], 3, 'volume/not-found'],
  [['export', 'add', 'gold', '--name', 'x', '--listen', 'ftp:x'], 2, 'request/invalid'],
  [['disk', 'add', 'main', '/proc'], 1, 'disk/unusable'],
  [['disk', 'add', 'main', '/nowhere/x.img'], 1, 'disk/unusable'],
  [['pool', 'delete', 'main', '-y'], 4, 'pool/not-empty'],
] as const)('%j ends with %i, %s', async (argv, exit, code) => {
  const outcome = await varve(...argv);
  expect(outcome.stderr).toContain(`  code:  ${code}\n`);
  expect(outcome.exit).toBe(exit);
});

test('a disk joins online', async () => {
  const before = await document('pool', 'show', 'main');
  expect(await document('disk', 'add', 'main', disk('c'))).toMatchObject({ kind: 'Disk' });
  const after = await document('pool', 'show', 'main');
  expect(Number(after.capacity_bytes)).toBeGreaterThan(Number(before.capacity_bytes));
  expect((await document('disk', 'list')).items).toHaveLength(3);
});

test('a pool is sound, online and, when the service is stopped, offline', async () => {
  expect(await document('pool', 'check', 'main')).toMatchObject({
    kind: 'CheckReport',
    findings: [],
  });
});

test('a second service is refused the state folder, and disturbs nothing', async () => {
  await expect(start()).rejects.toMatchObject({ code: 'service/state-held' });
  expect((await varve('status')).exit).toBe(0);
});

test('a restart serves the same under the same URIs', async () => {
  const uris = (await document('export', 'show', 'gold')).uris;
  await service.stop();
  await service.stop();
  expect((await varve('status')).exit).toBe(20);
  const offline = await varve(
    'pool',
    'check',
    '--offline',
    ...['a', 'b', 'c'].map((n) => join(folder, `${n}.img`)),
  );
  expect({ exit: offline.exit, stdout: offline.stdout }).toEqual({ exit: 0, stdout: '' });
  service = await start();
  expect((await document('export', 'show', 'gold')).uris).toEqual(uris);
  const client = await NbdClient.connect(`${state}/nbd.sock`, 'gold');
  expect(await client.read(4096, 8192)).toEqual(Buffer.alloc(8192, 7));
  client.close();
  await allClientsGone();
});

test('a stop closes connected clients, and what they wrote is there afterwards', async () => {
  const client = await NbdClient.connect(`${state}/nbd.sock`, 'gold');
  await client.write(0, Buffer.alloc(4096, 9));
  await service.stop();
  await expect(client.read(0, 4096)).rejects.toThrow();
  service = await start();
  const again = await NbdClient.connect(`${state}/nbd.sock`, 'gold');
  expect(await again.read(0, 4096)).toEqual(Buffer.alloc(4096, 9));
  again.close();
  await allClientsGone();
});

test('a pool whose disk is gone does not keep the service from starting, and says so', async () => {
  await service.stop();
  renameSync(join(folder, 'b.img'), join(folder, 'b.away'));
  service = await start();
  const status = await document('status');
  expect(status).toMatchObject({ health: 'critical', pools: [{ name: 'main', state: 'failed' }] });
  expect(await document('pool', 'show', 'main')).toMatchObject({ state: 'failed' });
  expect((await varve('volume', 'create', 'x', '--size', '1MiB')).exit).not.toBe(0);
  expect((await document('export', 'list')).items).toEqual([]);
  await service.stop();
  renameSync(join(folder, 'b.away'), join(folder, 'b.img'));
  service = await start();
  expect(await document('status')).toMatchObject({ health: 'ok', export_count: 1 });
});

test('sockets are for the group, the folder for the owner', () => {
  expect(statSync(join(state, 'varve.sock')).mode & 0o777).toBe(0o660);
  expect(statSync(join(state, 'nbd.sock')).mode & 0o777).toBe(0o660);
  expect(statSync(state).mode & 0o777).toBe(0o700);
});

test('a pool is let go and imported with its exports', async () => {
  expect((await varve('pool', 'export', 'main')).exit).toBe(0);
  expect((await document('pool', 'list')).items).toEqual([]);
  const disks = ['a', 'b', 'c'].map((name) => join(folder, `${name}.img`));
  const missing = await varve('pool', 'import', disks[0] as string);
  expect(missing.exit).toBe(4);
  expect(await document('pool', 'import', ...disks)).toMatchObject({ name: 'main', changed: true });
  expect((await document('export', 'list')).items).toMatchObject([
    { name: 'gold', state: 'online' },
  ]);
});

test('events tell the day', async () => {
  const { items } = await document('events');
  const kinds = (items as { event: string }[]).map((event) => event.event);
  for (const kind of ['pool/created', 'volume/created', 'export/added', 'client/connected']) {
    expect(kinds).toContain(kind);
  }
});

test('everything can be taken down again', async () => {
  await document('export', 'remove', 'gold', '--disconnect');
  await document('volume', 'delete', 'gold');
  expect((await varve('volume', 'delete', 'gold', '-y')).exit).toBe(3);
  await expect
    .poll(async () => (await varve('pool', 'delete', 'main', '-y')).exit, { timeout: 10_000 })
    .toBe(0);
});

test('a damaged disk is found offline, with 7', async () => {
  await document('pool', 'create', 'broken', disk('d'));
  await document('volume', 'create', 'v', '--size', '16MiB');
  await varve('pool', 'export', 'broken');
  const path = join(folder, 'd.img');
  const { label } = await probeDisk(path);
  const clusterOffset = (label?.checkpoint?.firstCluster ?? 0) * (label?.clusterBytes ?? 0);
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.from([0xff]), 0, 1, clusterOffset + 64);
  closeSync(file);
  const { exit, stderr, stdout } = await varve('pool', 'check', '--offline', path);
  expect(exit).toBe(7);
  expect(stderr).toContain('code:  pool/damaged');
  expect(stdout).toContain('damage');
});

test('a state folder of another version is refused', async () => {
  // One data plane to a process.
  await service.stop();
  const other = join(folder, 'other');
  const first = await Service.start(await loadConfig({ state: other }), log);
  await first.stop();
  writeFileSync(join(other, 'version'), '9\n');
  await expect(Service.start(await loadConfig({ state: other }), log)).rejects.toMatchObject({
    code: 'service/state-version',
  });
});

test('a state folder whose sockets would be too long is refused', async () => {
  const long = join(folder, 'x'.repeat(100));
  await expect(Service.start(await loadConfig({ state: long }), log)).rejects.toMatchObject({
    code: 'export/listen',
  });
  expect(existsSync(join(long, 'lock'))).toBe(false);
});
