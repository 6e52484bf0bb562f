// Goal: a pool lives on files of a real NFS server, versions 3 and 4; what cannot be used is refused with cause and remedy.
// Method: nfs-ganesha on the loopback, the real data plane. The disk's own contract and the server's crashes: native/test/nfs_disk_test.cc.
import { mkdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import { scanDisks } from '../../src/pool/disk-scan.ts';
import { Ganesha } from '../servers/ganesha.ts';
import { Fixture } from './fixture.ts';

let server: Ganesha;
let fixture: Fixture;

beforeAll(async () => {
  server = await Ganesha.open();
}, 90_000);
afterAll(() => server.close());
beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

function expectRefused(uri: string, code: string, cause: RegExp, remedy: RegExp): Promise<void> {
  return expect(fixture.pools.create('p', [uri])).rejects.toMatchObject({
    code,
    message: expect.stringMatching(cause),
    actions: expect.arrayContaining([expect.stringMatching(remedy)]),
  });
}

test('a pool is made on files there and not there, used, let go and taken up again', async () => {
  await writeFile(join(server.exportPath, 'v4.img'), new Uint8Array(0));
  await truncate(join(server.exportPath, 'v4.img'), 96 * MiB);
  const v3 = server.uri('v3.img', 'size=96MiB');
  const v4 = server.uri('v4.img', 'version=4');
  await fixture.pools.create('gold', [v3, v4]);
  expect((await stat(join(server.exportPath, 'v3.img'))).size).toBe(96 * MiB);
  expect(
    fixture.pools
      .get('gold')
      .info()
      .disks.map(({ kind }) => kind),
  ).toEqual(['nfs', 'nfs']);

  await fixture.volumes.create({ name: 'vm', sizeBytes: 64 * MiB, pool: 'gold' });
  const text = Buffer.from('layers of sediment');
  const opened = await fixture.volumes.open('vm');
  await opened.plane.write(5 * MiB, text, { fua: true });
  await opened.close();
  await fixture.restart();
  await fixture.pools.export('gold');
  await fixture.pools.import([server.uri('v3.img'), v4]);
  const again = await fixture.volumes.open('vm');
  expect(Buffer.from(await again.plane.read(5 * MiB, text.length))).toEqual(text);
  await again.close();

  await expect(fixture.pools.create('other', [server.uri('v3.img')])).rejects.toMatchObject({
    code: 'disk/in-use',
    message: expect.stringContaining('belongs to pool gold'),
  });
});

test('what cannot be used is refused with cause and remedy', async () => {
  const elsewhere = server.uri('x').replace(server.exportPath, '/nowhere');
  await expectRefused(server.uri('none'), 'disk/unusable', /no such file/, /size=100GiB/);
  await expectRefused(elsewhere, 'disk/unusable', /mount the NFS export/, /scan nfs:/);
  const v4 = elsewhere.replace('?', '?version=4&');
  await expectRefused(v4, 'disk/unusable', /find the folder/, /scan nfs:/);
  const closed = server.uri('x').replace(`mountport=${server.mountPort}`, 'mountport=1');
  await expectRefused(closed, 'disk/unusable', /connect to the NFS server/, /start the NFS server/);
  const unknown = server.uri('x').replace('127.0.0.1', 'no-such-host.invalid');
  await expectRefused(unknown, 'disk/unusable', /look up the NFS server's name/, /check the name/);
});

test('a server that does not let the user in says so', async () => {
  const strict = await Ganesha.open({ squash: 'All_Squash' });
  try {
    const uri = strict.uri('mine', 'size=96MiB');
    await expectRefused(uri, 'disk/unusable', /Permission denied/, /allow this host/);
  } finally {
    await strict.close();
  }
}, 90_000);

test('a scan lists exports, and files with what they hold', async () => {
  const scanned = await Ganesha.open();
  try {
    await fixture.pools.create('silver', [scanned.uri('ours.img', 'size=96MiB')]);
    await writeFile(join(scanned.exportPath, 'blank.img'), new Uint8Array(MiB));
    await writeFile(join(scanned.exportPath, 'image.qcow2'), 'QFI\xfb', 'latin1');
    await mkdir(join(scanned.exportPath, 'more'));
    const server = scanned.uri('').replace(scanned.exportPath, '');
    expect(await scanDisks(fixture.dataPlane, server)).toMatchObject([
      { uri: scanned.uri(''), holds: 'an export, to be scanned' },
    ]);
    expect(await scanDisks(fixture.dataPlane, scanned.uri(''))).toMatchObject([
      { uri: scanned.uri('blank.img'), sizeBytes: MiB, holds: null, problem: null },
      { uri: scanned.uri('image.qcow2'), holds: 'a qcow2 image' },
      { uri: scanned.uri('more'), holds: 'a folder, to be scanned' },
      { uri: scanned.uri('ours.img'), sizeBytes: 96 * MiB, holds: 'a disk of pool silver' },
    ]);
    await fixture.pools.export('silver');
  } finally {
    await scanned.close();
  }
}, 90_000);
