/**
 * Goal: a pool lives on LUNs of an iSCSI target as on files: created, used, let go, imported, and bad input is refused with its reason.
 * Method: the real data plane and a real target on loopback (test/servers/tgt.ts). What the disk itself promises when the target
 *   fails is in native/test/iscsi_disk_test.cc.
 */
import { execFileSync } from 'node:child_process';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import { scanDisks } from '../../src/pool/disk-scan.ts';
import { Tgt } from '../servers/tgt.ts';
import { Fixture } from './fixture.ts';

const sizeBytes = 128 * MiB;
let tgt: Tgt;
let fixture: Fixture;

beforeAll(async () => {
  tgt = await Tgt.start();
});
afterAll(() => tgt.close());
beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

const pattern = (value: number) => new Uint8Array(700_000).fill(value);

async function writePattern(value: number): Promise<void> {
  const volume = await fixture.volumes.open('v');
  await volume.plane.write(12_345, pattern(value));
  await volume.plane.flush();
  await volume.close();
}

async function expectPattern(value: number): Promise<void> {
  const volume = await fixture.volumes.open('v');
  expect(Buffer.from(await volume.plane.read(12_345, 700_000)).equals(pattern(value))).toBe(true);
  await volume.close();
}

async function createPool(...uris: string[]): Promise<void> {
  await fixture.pools.create('gold', uris);
  await fixture.volumes.create({ name: 'v', sizeBytes: 64 * MiB });
}

test('a pool on two LUNs is used, let go and imported from them alone', async () => {
  const plain = await tgt.addLun({ sizeBytes });
  const thin = await tgt.addLun({ sizeBytes, blockBytes: 4096, thin: true });
  await createPool(tgt.uri(plain), tgt.uri(thin));
  await writePattern(7);
  await fixture.pools.export('gold');
  const pool = await fixture.pools.import([tgt.uri(plain), tgt.uri(thin)]);
  expect(pool.disks.map(({ kind }) => kind)).toEqual(['iscsi', 'iscsi']);
  await expectPattern(7);
  await fixture.restart();
  await expectPattern(7);
  expect((await fixture.pools.check('gold')).findings).toEqual([]);
});

test('a target that needs CHAP: the secret is kept apart and used at the next start', async () => {
  const guarded = await Tgt.start();
  try {
    await guarded.requireChap({ user: 'host', secret: 'open-sesame-12' });
    const lun = await guarded.addLun({ sizeBytes });
    const uri = (login: string) => guarded.uri(lun, [guarded.portal], login);
    await expect(createPool(uri(''))).rejects.toMatchObject({
      code: 'disk/unusable',
      message: expect.stringContaining('CHAP'),
    });
    await expect(createPool(uri('host%wrong-secret-1'))).rejects.toMatchObject({
      message: expect.not.stringContaining('wrong-secret'),
    });
    await createPool(uri('host%open-sesame-12'));
    await writePattern(9);
    await fixture.restart();
    await expectPattern(9);
    const listed = await readFile(join(fixture.stateDir, 'pools.json'), 'utf8');
    expect(listed).not.toContain('open-sesame');
    expect(JSON.stringify(fixture.pools.list())).not.toContain('open-sesame');
    expect(JSON.stringify(fixture.events)).not.toContain('open-sesame');
    await fixture.pools.export('gold');
  } finally {
    await guarded.close();
  }
});

test('a LUN that holds something, is too small, cannot be written or is not there is refused', async () => {
  const taken = await tgt.addLun({ sizeBytes });
  const formatted = await tgt.addLun({ sizeBytes });
  const tiny = await tgt.addLun({ sizeBytes: 64 * 1024 });
  const readOnly = await tgt.addLun({ sizeBytes, readOnly: true });
  execFileSync('mkfs.ext4', ['-q', '-F', tgt.backingFile(formatted)]);
  await createPool(tgt.uri(taken));
  const refusal = (lun: number) =>
    fixture.pools.create('other', [tgt.uri(lun)]).then(
      () => undefined,
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );
  expect(await refusal(taken)).toMatch(/^disk\/in-use: .*pool gold/);
  expect(await refusal(formatted)).toMatch(/^disk\/in-use: .*ext/);
  expect(await refusal(tiny)).toMatch(/^disk\/too-small: /);
  expect(await refusal(readOnly)).toMatch(/^disk\/unusable: .*write-protected/);
  expect(await refusal(999)).toMatch(/^disk\/unusable: .*no such LUN/);
  await expect(
    fixture.pools.create('other', [tgt.uri(taken).replace(':tgt', ':nobody')]),
  ).rejects.toMatchObject({ message: expect.stringContaining('no such iSCSI target') });
  await fixture.pools.export('gold');
});

test('a LUN that shrank is refused at the next start, and taken again at its full size', async () => {
  const own = await Tgt.start();
  try {
    const lun = await own.addLun({ sizeBytes });
    await createPool(own.uri(lun));
    await writePattern(3);
    await fixture.pools.export('gold');
    await copyFile(own.backingFile(lun), fixture.path('whole'));
    await own.resizeLun(lun, sizeBytes / 2);
    await own.restart();
    await expect(fixture.pools.import([own.uri(lun)])).rejects.toMatchObject({
      code: 'disk/too-small',
    });
    await copyFile(fixture.path('whole'), own.backingFile(lun));
    await own.restart();
    await fixture.pools.import([own.uri(lun)]);
    await expectPattern(3);
    await fixture.pools.export('gold');
  } finally {
    await own.close();
  }
});

test('a LUN that has grown is used while the pool serves', async () => {
  const own = await Tgt.start();
  try {
    const lun = await own.addLun({ sizeBytes });
    await createPool(own.uri(lun));
    await fixture.pools.set('gold', { patienceSeconds: 60 });
    await writePattern(4);
    const before = fixture.pools.get('gold').info().capacityBytes;
    await own.resizeLun(lun, 2 * sizeBytes);
    await own.restart();
    await expectPattern(4);
    // A disk that has just come back is not looked at before it counts as online.
    const capacityFound = async () => {
      await fixture.pools.get('gold').lookForGrowth();
      return fixture.pools.get('gold').info().capacityBytes;
    };
    await expect.poll(capacityFound, { timeout: 20_000 }).toBe(before + sizeBytes);
    expect(fixture.events.map(({ kind }) => kind)).toContain('disk/grown');
    await fixture.pools.export('gold');
  } finally {
    await own.close();
  }
});

test('a scan tells the LUNs of a portal, and what they hold', async () => {
  const own = await Tgt.start();
  try {
    const pooled = await own.addLun({ sizeBytes });
    const empty = await own.addLun({ sizeBytes, blockBytes: 4096, thin: true });
    const readOnly = await own.addLun({ sizeBytes, readOnly: true });
    await createPool(own.uri(pooled));
    const address = `iscsi://${own.portal}`;
    const common = { sizeBytes, model: 'IET VIRTUAL-DISK' };
    expect(await scanDisks(fixture.dataPlane, address)).toEqual([
      { ...common, uri: own.uri(pooled), thin: false, holds: 'a disk of pool gold', problem: null },
      { ...common, uri: own.uri(empty), thin: true, holds: null, problem: null },
      {
        ...common,
        uri: own.uri(readOnly),
        thin: false,
        holds: null,
        problem: 'it is write-protected',
      },
    ]);
    await own.requireChap({ user: 'host', secret: 'open-sesame-12' });
    const [guarded] = await scanDisks(fixture.dataPlane, address);
    expect(guarded?.problem).toContain('CHAP');
    const login = `iscsi://host%open-sesame-12@${own.portal}`;
    const admitted = await scanDisks(fixture.dataPlane, login);
    expect(admitted.map(({ holds }) => holds)).toEqual(['a disk of pool gold', null, null]);
    expect(JSON.stringify(admitted)).not.toContain('open-sesame');
    await fixture.pools.export('gold');
    await own.kill();
    await expect(scanDisks(fixture.dataPlane, address)).rejects.toMatchObject({
      code: 'disk/unusable',
    });
  } finally {
    await own.close();
  }
});
