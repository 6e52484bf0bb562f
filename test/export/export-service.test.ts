// Goal: exports are remembered before they are answered for, restored as they were, and give back what they held.
// Method: the service over in-memory stand-ins; look at what each of them was asked.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ExportService } from '../../src/export/export-service.ts';
import type { EventInput } from '../../src/pool/types.ts';
import {
  FakeDataPlane,
  FakeDisks,
  FakeHostStore,
  FakePool,
  FakeSnapshots,
  FakeVolumes,
  poolInfo,
} from './fakes.ts';

let folder: string;
let dataPlane: FakeDataPlane;
let pool: FakePool;
let volumes: FakeVolumes;
let snapshots: FakeSnapshots;
let disks: FakeDisks;
let host: FakeHostStore;
let events: EventInput[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-export-'));
  dataPlane = new FakeDataPlane();
  pool = new FakePool(poolInfo('main'));
  volumes = new FakeVolumes();
  snapshots = new FakeSnapshots();
  disks = new FakeDisks();
  host = new FakeHostStore();
  snapshots.add(volumes.add('gold', 'main'), 'monday');
  events = [];
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function openService(onClientsGone = () => {}): ExportService {
  return new ExportService({
    dataPlane,
    volumes,
    snapshots,
    disks,
    pools: () => [pool],
    host,
    emit: (event) => events.push(event),
    now: () => new Date(0),
    defaultAddress: { kind: 'tcp', host: 'localhost', port: 10_809 },
    onClientsGone,
  });
}

test('an added export is stored, served and confirmed when added again', async () => {
  const service = openService();
  await service.start();
  const first = await service.add({ volume: 'gold', name: 'gold' });
  const second = await service.add({ volume: 'gold', name: 'gold' });
  expect([first.changed, second.changed]).toEqual([true, false]);
  expect(first.export?.uris).toEqual(['nbd://localhost:10809/gold']);
  expect([...dataPlane.exports.keys()]).toEqual(['gold']);
  expect([...pool.stored.keys()]).toEqual(['export/gold']);
  expect(volumes.opened.get('gold')).toBe(1);
});

test('a name that serves something else is refused and changes nothing', async () => {
  const service = openService();
  volumes.add('silver', 'main');
  await service.add({ volume: 'gold', name: 'disk' });
  await expect(service.add({ volume: 'silver', name: 'disk' })).rejects.toMatchObject({
    code: 'export/exists',
  });
  await expect(service.add({ volume: 'gold', name: 'disk', readOnly: true })).rejects.toMatchObject(
    {
      code: 'export/exists',
    },
  );
  expect(service.get('disk').volume).toBe('gold');
});

test.each(['gold@snap', 'a/b', '', '-x', 'x'.repeat(64)])(
  '%j cannot name an export',
  async (name) => {
    const service = openService();
    await expect(service.add({ volume: 'gold', name })).rejects.toMatchObject({
      code: 'request/invalid',
    });
  },
);

test('a port that was chosen once is kept over a restart', async () => {
  const before = openService();
  await before.start();
  await before.add({ volume: 'gold', name: 'gold', listen: ['tcp:localhost:0'] });
  const { uris } = before.get('gold');
  await before.close();
  const after = openService();
  await after.start();
  expect(uris[1]).toBe('nbd://localhost:40000/gold');
  expect(after.get('gold').uris).toEqual(uris);
  expect(after.get('gold').failure).toBeNull();
});

test('what cannot be restored is kept, told, and served when added again', async () => {
  await openService().add({ volume: 'gold', name: 'gold' });
  volumes.damaged.add('gold');
  const service = openService();
  await service.start();
  expect(service.get('gold').failure).toMatch('map is damaged');
  expect(events.at(-1)).toMatchObject({ kind: 'export/failed', level: 'error', subject: 'gold' });
  volumes.damaged.clear();
  expect(await service.add({ volume: 'gold', name: 'gold' })).toMatchObject({ changed: true });
  expect(service.get('gold').failure).toBeNull();
});

test('what cannot be served is served when its pool is opened again', async () => {
  const service = openService();
  await service.add({ volume: 'gold', name: 'gold' });
  await service.release('main');
  volumes.damaged.add('gold');
  await service.restore(pool);
  expect(service.get('gold').failure).toMatch('map is damaged');
  volumes.damaged.clear();
  await service.restore(pool);
  expect(service.get('gold').failure).toBeNull();
  expect(dataPlane.exports.has('gold')).toBe(true);
});

test('nothing stays open when the record cannot be written', async () => {
  const service = openService();
  pool.broken = true;
  await expect(service.add({ volume: 'gold', name: 'gold' })).rejects.toMatchObject({
    code: 'pool/failed',
  });
  expect(volumes.opened.get('gold')).toBe(0);
  expect(dataPlane.listening.size).toBe(0);
  expect(service.list()).toEqual([]);
});

test('nothing stays open when an address cannot be had', async () => {
  const service = openService();
  dataPlane.taken.add('localhost:999');
  const adding = service.add({ volume: 'gold', name: 'gold', listen: ['tcp:localhost:999'] });
  await expect(adding).rejects.toMatchObject({ code: 'export/listen' });
  expect(volumes.opened.get('gold')).toBe(0);
  expect(dataPlane.listening.size).toBe(0);
  expect(pool.stored.size).toBe(0);
});

test('an export in use is removed only when asked to disconnect', async () => {
  const service = openService();
  await service.add({ volume: 'gold', name: 'gold' });
  dataPlane.connect('gold');
  await expect(service.remove('gold')).rejects.toMatchObject({ code: 'export/busy' });
  await service.remove('gold', { disconnect: true, dryRun: true });
  expect(service.list()).toHaveLength(1);
  await service.remove('gold', { disconnect: true });
  expect(service.list()).toEqual([]);
  expect(pool.stored.size).toBe(0);
  expect(volumes.opened.get('gold')).toBe(0);
  await expect(service.remove('gold')).rejects.toMatchObject({ code: 'export/not-found' });
});

test('an exported volume is guarded', async () => {
  const service = openService();
  await service.add({ volume: 'gold', name: 'disk' });
  expect(volumes.guards.map((guard) => guard('gold'))).toEqual([
    'it is exported as disk (varve export remove disk)',
  ]);
  expect(volumes.guards.map((guard) => guard('silver'))).toEqual([null]);
});

test('a pool that is let go keeps its exports, and serves them when it comes back', async () => {
  const service = openService();
  await service.add({ volume: 'gold', name: 'gold' });
  await service.release('main');
  expect(service.list()).toEqual([]);
  expect(pool.stored.size).toBe(1);
  await service.restore(pool);
  expect(dataPlane.exports.has('gold')).toBe(true);
});

test('a pool whose exports are in use is not let go', async () => {
  const service = openService();
  await service.add({ volume: 'gold', name: 'gold' });
  dataPlane.connect('gold');
  await expect(service.release('main')).rejects.toMatchObject({ code: 'export/busy' });
  expect(service.list()).toHaveLength(1);
});

test('closing twice closes everything once', async () => {
  const service = openService();
  await service.start();
  await service.add({ volume: 'gold', name: 'gold' });
  await service.close();
  await service.close();
  expect(dataPlane.exports.size).toBe(0);
  expect(dataPlane.listening.size).toBe(0);
  expect(volumes.opened.get('gold')).toBe(0);
});

test('a service that closes tells when its clients are gone, before it closes what they used', async () => {
  const told: unknown[] = [];
  const service = openService(() =>
    told.push({ exports: dataPlane.exports.size, opened: volumes.opened.get('gold') }),
  );
  await service.start();
  await service.add({ volume: 'gold', name: 'gold' });
  await service.close();
  expect(told).toEqual([{ exports: 0, opened: 1 }]);
  expect(volumes.opened.get('gold')).toBe(0);
});

test('clients coming and going are told', async () => {
  openService();
  dataPlane.connect('gold');
  dataPlane.listener?.disconnected(1, 'gold', 'it asked to');
  expect(events.map((event) => event.kind)).toEqual(['client/connected', 'client/disconnected']);
});

test('a living socket is not taken over, a dead one is', async () => {
  const { freeSocketPath } = await import('../../src/export/unix-socket.ts');
  const path = join(folder, 'x.sock');
  const server = createServer().listen(path);
  await new Promise((resolve) => server.once('listening', resolve));
  await expect(freeSocketPath(path)).rejects.toMatchObject({ code: 'export/listen' });
  await new Promise((resolve) => server.close(resolve));
  await freeSocketPath(path);
  await expect(freeSocketPath(join(folder, 'y'.repeat(120)))).rejects.toThrow('bytes, the system');
  await expect(freeSocketPath(folder)).rejects.toThrow('no socket');
});

test('a snapshot is served read-only, with its own size, and comes back as that', async () => {
  const service = openService();
  await service.start();
  const options = { volume: 'gold', snapshot: 'monday', name: 'gold-monday' };
  const { export: info } = await service.add(options);
  expect(info).toMatchObject({ snapshot: 'monday', readOnly: true, sizeBytes: 512 * 1024 });
  expect((await service.add(options)).changed).toBe(false);
  expect(dataPlane.exports.get('gold-monday')?.readOnly).toBe(true);
  expect(service.nameOfVolume('gold')).toBeNull();
  await service.close();
  const again = openService();
  await again.start();
  expect(again.get('gold-monday')).toMatchObject({ snapshot: 'monday', readOnly: true });
  expect(snapshots.opened.get('gold@monday')).toBe(1);
});

test('a snapshot that is exported is not deleted, and says by what', async () => {
  const service = openService();
  await service.add({ volume: 'gold', snapshot: 'monday', name: 'backup' });
  expect(snapshots.guards[0]?.('main', 1)).toContain('backup');
  await service.remove('backup');
  expect(snapshots.guards[0]?.('main', 1)).toBeNull();
});

test('scratch is written to, and given back with the export', async () => {
  const service = openService();
  const options = { volume: 'gold', snapshot: 'monday', name: 'try', scratch: true };
  expect((await service.add(options)).export).toMatchObject({ scratch: true, readOnly: false });
  expect(snapshots.opened.get('scratch of monday')).toBe(1);
  await service.remove('try');
  expect(snapshots.opened.get('scratch of monday')).toBe(0);
});

test('what changed since a bookmark is offered under both names', async () => {
  const service = openService();
  snapshots.add(volumes.get('gold'), 'sunday', 'bookmark');
  snapshots.changed = [{ offset: 4096, length: 8192 }];
  await service.add({ volume: 'gold', snapshot: 'monday', name: 'inc', changedSince: 'sunday' });
  expect(dataPlane.exports.get('inc')?.contexts).toEqual([
    { name: 'varve:changed:sunday', runs: Float64Array.of(4096, 8192) },
    { name: 'qemu:dirty-bitmap:sunday', runs: Float64Array.of(4096, 8192) },
  ]);
});

test.each([
  [{ scratch: true }, 'request/invalid'],
  [{ changedSince: 'monday' }, 'request/invalid'],
  [{ snapshot: 'monday', scratch: true, changedSince: 'monday' }, 'request/invalid'],
  [{ snapshot: 'monday', scratch: true, readOnly: true }, 'request/invalid'],
  [{ snapshot: 'none' }, 'snapshot/not-found'],
  [{ snapshot: 'monday', changedSince: 'none' }, 'snapshot/not-found'],
])('%o is refused as %s', async (options, code) => {
  const service = openService();
  const attempt = service.add({ volume: 'gold', name: 'x', ...options });
  await expect(attempt).rejects.toMatchObject({ code });
  expect(pool.stored.size).toBe(0);
});

test('clients of the volume are counted and disconnected, those of its snapshots are not', async () => {
  const service = openService();
  await service.add({ volume: 'gold', name: 'gold' });
  await service.add({ volume: 'gold', snapshot: 'monday', name: 'backup' });
  dataPlane.connect('gold');
  dataPlane.connect('backup');
  expect(service.clientsOf('gold')).toBe(1);
  expect(await service.disconnect('gold')).toBe(1);
  expect(dataPlane.connected.map((client) => client.export)).toEqual(['backup']);
  expect([...dataPlane.exports.keys()].sort()).toEqual(['backup', 'gold']);
});

test('scratch of a snapshot begins anew at each start, and ends with the service', async () => {
  const service = openService();
  await service.start();
  await service.add({ volume: 'gold', snapshot: 'monday', name: 'try', scratch: true });
  await service.close();
  expect(snapshots.opened.get('scratch of monday')).toBe(0);
  const again = openService();
  await again.start();
  expect(snapshots.opened.get('scratch of monday')).toBe(1);
  expect(again.get('try')).toMatchObject({ scratch: true, readOnly: false, failure: null });
  expect(dataPlane.exports.get('try')?.readOnly).toBe(false);
});

test('added again with other parameters, a snapshot export says what it serves', async () => {
  const service = openService();
  snapshots.add(volumes.get('gold'), 'tuesday');
  const options = { volume: 'gold', snapshot: 'tuesday', name: 'x', changedSince: 'monday' };
  await service.add(options);
  expect(await service.add({ ...options, dryRun: true })).toMatchObject({ changed: false });
  expect(await service.add({ ...options, readOnly: true })).toMatchObject({ changed: false });
  for (const other of [
    { volume: 'gold', name: 'x' },
    { volume: 'gold', snapshot: 'tuesday', name: 'x' },
    { volume: 'gold', snapshot: 'tuesday', name: 'x', scratch: true },
    { volume: 'gold', snapshot: 'monday', name: 'x', changedSince: 'monday' },
    { volume: 'gold', snapshot: 'tuesday', name: 'x', changedSince: 'tuesday' },
  ]) {
    const refused = { code: 'export/exists', message: expect.stringContaining('gold@tuesday') };
    await expect(service.add(other)).rejects.toMatchObject(refused);
  }
});

test('a bookmark has no data to serve', async () => {
  snapshots.add(volumes.get('gold'), 'sunday', 'bookmark');
  const adding = openService().add({ volume: 'gold', snapshot: 'sunday', name: 'x' });
  await expect(adding).rejects.toMatchObject({ code: 'snapshot/not-found' });
});

/** An export of tuesday that tells what changed since monday, and the service stopped. */
async function storeIncrement(): Promise<void> {
  const service = openService();
  snapshots.add(volumes.get('gold'), 'tuesday');
  snapshots.changed = [{ offset: 0, length: 4096 }];
  await service.add({ volume: 'gold', snapshot: 'tuesday', name: 'inc', changedSince: 'monday' });
  await service.close();
}

test('what changed is told again after a restart, also since what is a bookmark now', async () => {
  await storeIncrement();
  snapshots.forget('monday', true);
  const service = openService();
  await service.start();
  expect(service.get('inc')).toMatchObject({ changedSince: 'monday', failure: null });
  expect(dataPlane.exports.get('inc')?.contexts?.map(({ name }) => name)).toEqual([
    'varve:changed:monday',
    'qemu:dirty-bitmap:monday',
  ]);
});

test('a later snapshot that got the name is not taken for the one that was meant', async () => {
  await storeIncrement();
  snapshots.forget('monday', false);
  snapshots.add(volumes.get('gold'), 'monday');
  const service = openService();
  await service.start();
  expect(service.get('inc').failure).toContain('another has its name');
  expect(dataPlane.exports.has('inc')).toBe(false);
  expect(snapshots.opened.get('gold@tuesday')).toBe(0);
});

test('nothing stays open when what changed cannot be told', async () => {
  const service = openService();
  snapshots.damaged = true;
  const options = { volume: 'gold', snapshot: 'monday', name: 'inc', changedSince: 'monday' };
  await expect(service.add(options)).rejects.toMatchObject({ code: 'pool/damaged' });
  expect(snapshots.opened.get('gold@monday')).toBe(0);
  expect(pool.stored.size).toBe(0);
  snapshots.damaged = false;
  expect(await service.add(options)).toMatchObject({ changed: true });
});

test('the volume may go and be exported by itself while only its snapshot is exported', async () => {
  const service = openService();
  await service.add({ volume: 'gold', snapshot: 'monday', name: 'backup' });
  expect(volumes.guards.map((guard) => guard('gold'))).toEqual([null]);
  expect(service.volumeStats()).toEqual([]);
  await service.add({ volume: 'gold', name: 'gold' });
  expect(service.nameOfVolume('gold')).toBe('gold');
  expect(snapshots.guards.map((guard) => [guard('main', 2), guard('other', 1)])).toEqual([
    [null, null],
  ]);
});

test('disconnecting a volume that is not exported, or whose export failed, does nothing', async () => {
  await openService().add({ volume: 'gold', name: 'gold' });
  volumes.damaged.add('gold');
  const service = openService();
  await service.start();
  expect(service.get('gold').failure).not.toBeNull();
  expect(await service.disconnect('gold')).toBe(0);
  expect(await service.disconnect('silver')).toBe(0);
  expect(service.clientsOf('silver')).toBe(0);
});

test('a whole disk is remembered by the host, served after a restart, and given back', async () => {
  const service = openService();
  await service.start();
  const options = { disk: '/dev/raw', name: 'raw', readOnly: true };
  expect(await service.passThrough({ ...options, dryRun: true })).toEqual({
    export: null,
    changed: true,
  });
  expect(host.records.size).toBe(0);
  const { export: info } = await service.passThrough(options);
  expect(info).toMatchObject({ kind: 'passthrough', volume: null, pool: null, disk: '/dev/raw' });
  expect(await service.passThrough(options)).toMatchObject({ changed: false });
  expect(pool.stored.size).toBe(0);
  await service.close();
  expect(disks.opened.get('/dev/raw')).toBe(0);

  const again = openService();
  await again.start();
  expect(dataPlane.exports.get('raw')).toMatchObject({ readOnly: true });
  expect(again.list()).toMatchObject([{ name: 'raw', failure: null, sizeBytes: disks.sizeBytes }]);
  expect(again.passthroughs()).toMatchObject([{ export: 'raw', state: 'online' }]);
  await again.remove('raw');
  expect([host.records.size, disks.opened.get('/dev/raw'), dataPlane.exports.size]).toEqual([
    0, 0, 0,
  ]);
});

test('a disk that cannot be opened at the start keeps its export, failed, and is tried again', async () => {
  await openService().passThrough({ disk: '/dev/raw', name: 'raw' });
  disks.broken.add('/dev/raw');
  const service = openService();
  await service.start();
  expect(service.get('raw')).toMatchObject({ failure: 'no /dev/raw' });
  disks.broken.clear();
  expect(await service.passThrough({ disk: '/dev/raw', name: 'raw' })).toMatchObject({
    changed: true,
    export: { failure: null },
  });
});

test.each([
  [{ disk: '/dev/other', name: 'raw' }, 'export/exists'],
  [{ disk: '/dev/raw', name: 'raw', readOnly: true }, 'export/exists'],
  [{ disk: '/dev/raw', name: 'gold' }, 'export/exists'],
  [{ disk: '/dev/raw', name: 'No Name' }, 'request/invalid'],
])('a passthrough that clashes is refused: %o', async (options, code) => {
  const service = openService();
  await service.start();
  await service.add({ volume: 'gold', name: 'gold' });
  await service.passThrough({ disk: '/dev/raw', name: 'raw' });
  await expect(service.passThrough(options)).rejects.toMatchObject({ code });
  await expect(service.add({ volume: 'gold', name: 'raw' })).rejects.toMatchObject({
    code: 'export/exists',
  });
});

test('where a volume is wanted, the name of a whole disk says what it is and what to do', async () => {
  const service = openService();
  await service.passThrough({ disk: '/dev/raw', name: 'raw' });
  expect(volumes.explain('raw')).toMatchObject({ code: 'export/passthrough' });
  expect(volumes.explain('raw')?.actions[0]).toContain('varve volume adopt /dev/raw raw');
  expect(volumes.explain('gold')).toBeUndefined();
});

test('serials are short enough for virtio-blk, and told apart what is not the same disk', async () => {
  const service = openService();
  await service.start();
  const gold = { volume: 'gold', snapshot: 'monday' };
  await service.add({ volume: 'gold', name: 'gold' });
  await service.add({ volume: 'gold', name: 'again', readOnly: true });
  await service.add({ ...gold, name: 'monday' });
  await service.add({ ...gold, name: 'scratch', scratch: true });
  await service.passThrough({ disk: 'file:/disk', name: 'disk' });
  const [again, disk, volume, monday, scratch] = service.list().map(({ serial }) => serial);
  expect(volume).toBe(volumes.get('gold').uuid.slice(0, 20));
  expect(again).toBe(volume);
  const all = new Set([disk, volume, monday, scratch]);
  expect(all.size).toBe(4);
  for (const serial of all)
    expect(serial).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]$/);
  await service.close();
});

test('a volume that is not exported is told how it would be', async () => {
  const service = openService();
  await service.start();
  const wayOut = (name: string, ...actions: string[]) =>
    expect(() => service.get(name)).toThrow(expect.objectContaining({ actions }));
  wayOut('gold', 'varve export add gold', 'varve export list');
  wayOut('silver', 'varve export list');
  await service.close();
});
