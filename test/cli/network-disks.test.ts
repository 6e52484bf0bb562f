// Goal: with disks behind NFS and iSCSI an operator sees what there is, is refused with cause, remedy and exit code what cannot be,
//   and is told of a portal that is lost while the disk goes on.
// Method: a service in this process with the native addon, real servers (nfs-ganesha, tgt), portals behind proxies; command lines against it.
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/api/config.ts';
import { Service } from '../../src/api/service.ts';
import { run } from '../../tools/lib/command.ts';
import { Ganesha } from '../servers/ganesha.ts';
import { freePort } from '../servers/ports.ts';
import { TcpProxy } from '../servers/tcp-proxy.ts';
import { Tgt } from '../servers/tgt.ts';
import { runCaptured } from './capture.ts';

const MiB = 1024 * 1024;
const sizeBytes = 128 * MiB;
const secret = 'open-sesame-12';
const folder = mkdtempSync(join(tmpdir(), 'varve-cli-'));
const state = join(folder, 'state');
let service: Service;
let ganesha: Ganesha;
/** Lets nobody write. */
let strict: Ganesha;
let tgt: Tgt;
/** Wants a password. */
let guarded: Tgt;

beforeAll(async () => {
  service = await startService();
  ganesha = await Ganesha.open();
  strict = await Ganesha.open({ squash: 'All_Squash' });
  tgt = await Tgt.start();
  guarded = await Tgt.start({ targetNumber: 2 });
  await guarded.requireChap({ user: 'host', secret });
}, 120_000);
afterAll(async () => {
  await service?.stop();
  for (const server of [ganesha, strict, tgt, guarded]) await server?.close();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function startService(): Promise<Service> {
  return Service.start(await loadConfig({ state }), pino({ level: 'silent' }));
}

const varve = (...argv: string[]) => runCaptured(`unix:${state}/varve.sock`, ...argv);

/** A command that must succeed; its JSON document. */
async function document(...argv: string[]): Promise<Record<string, unknown>> {
  const { exit, stdout, stderr } = await varve(...argv, '-o', 'json', '-y');
  expect({ exit, stderr: exit === 0 ? '' : stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function expectRefused(
  argv: readonly string[],
  { exit, cause, remedy }: { exit: number; cause: RegExp; remedy: RegExp },
): Promise<void> {
  const refused = await varve(...argv, '-y');
  expect(refused.stderr).toMatch(cause);
  expect(refused.stderr).toMatch(new RegExp(`try: .*${remedy.source}`, 's'));
  expect(refused.stderr).not.toContain(secret);
  expect({ exit: refused.exit, stdout: refused.stdout }).toEqual({ exit, stdout: '' });
}

const withLogin = (server: Tgt, lun: number, login: string) =>
  server.uri(lun, [server.portal], login);

test('a scan of a portal tells its LUNs and what they hold, by table and document', async () => {
  const pooled = tgt.uri(await tgt.addLun({ sizeBytes }));
  const formatted = await tgt.addLun({ sizeBytes, thin: true });
  await run('mkfs.ext4', ['-q', '-F', tgt.backingFile(formatted)]);
  await document('pool', 'create', 'gold', pooled);
  const address = `iscsi://${tgt.portal}`;
  expect(await document('disk', 'scan', address)).toMatchObject({
    kind: 'FoundDiskList',
    items: [
      { uri: pooled, holds: 'a disk of pool gold', thin: false, problem: null },
      { uri: tgt.uri(formatted), holds: expect.stringContaining('ext'), thin: true },
    ],
  });
  expect((await varve('disk', 'scan', address)).stdout).toMatch(
    new RegExp(`^URI .*\\n.*${pooled}.*128MiB +no +a disk of pool gold`),
  );
});

test('a scan of a server tells its exports, and of an export its files', async () => {
  await writeFile(join(ganesha.exportPath, 'blank.img'), '');
  await truncate(join(ganesha.exportPath, 'blank.img'), sizeBytes);
  await writeFile(join(ganesha.exportPath, 'image.qcow2'), 'QFI\xfb', 'latin1');
  const server = ganesha.uri('').replace(ganesha.exportPath, '');
  expect(await document('disk', 'scan', server)).toMatchObject({
    items: [{ uri: ganesha.uri(''), holds: 'an export, to be scanned' }],
  });
  expect(await document('disk', 'scan', ganesha.uri(''))).toMatchObject({
    items: [
      { uri: ganesha.uri('blank.img'), size_bytes: sizeBytes, holds: null, problem: null },
      { uri: ganesha.uri('image.qcow2'), holds: 'a qcow2 image' },
    ],
  });
});

test('what cannot be scanned is refused with cause and remedy', async () => {
  const nobody = `127.0.0.1:${await freePort()}`;
  const cases: readonly (readonly [
    address: string,
    exit: number,
    cause: RegExp,
    remedy: RegExp,
  ])[] = [
    [`iscsi://${nobody}`, 1, /cannot scan .*Connection refused/, /no firewall is between/],
    ['iscsi://no-such-host.invalid', 1, /cannot scan/, /check the name/],
    ['iscsi://host/iqn.2026-01.x:y/1', 2, /a scan is of iscsi:/, /varve|iscsi/],
    ['nfs://no-such-host.invalid', 1, /cannot scan/, /check the name/],
    [
      `nfs://${nobody.replace(/:.*/, '')}/x?mountport=1&nfsport=1`,
      1,
      /cannot scan/,
      /start the NFS server/,
    ],
    [
      ganesha.uri('').replace(ganesha.exportPath, '/nowhere'),
      1,
      /cannot scan/,
      /lists the exports/,
    ],
  ];
  for (const [address, exit, cause, remedy] of cases) {
    await expectRefused(['disk', 'scan', address], { exit, cause, remedy });
  }
  const [found] = (await document('disk', 'scan', `iscsi://${guarded.portal}`)).items as [
    { problem: string },
  ];
  expect(found.problem).toMatch(/CHAP/);
});

test('what cannot be added is refused with cause and remedy, and changes nothing', async () => {
  const formatted = await tgt.addLun({ sizeBytes });
  await run('mkfs.ext4', ['-q', '-F', tgt.backingFile(formatted)]);
  await document('pool', 'create', 'silver', ganesha.uri('silver.img', 'size=128MiB'));
  const closed = await guarded.addLun({ sizeBytes });
  const before = await document('disk', 'list');
  const cases: readonly (readonly [uri: string, exit: number, cause: RegExp, remedy: RegExp])[] = [
    [
      `iscsi://127.0.0.1:${await freePort()}/${tgt.target}/1`,
      1,
      /Connection refused/,
      /no firewall/,
    ],
    [tgt.uri(99), 1, /no such LUN/, /varve disk scan/],
    [tgt.uri(1).replace(':tgt', ':other'), 1, /no such iSCSI target/, /varve disk scan/],
    [tgt.uri(formatted), 4, /filesystem/, /--force/],
    [tgt.uri(1), 4, /pool gold/, /./],
    [withLogin(guarded, closed, ''), 1, /CHAP/, /VARVE_ISCSI_SECRET/],
    [withLogin(guarded, closed, 'host%wrong-secret-1'), 1, /CHAP/, /VARVE_ISCSI_SECRET/],
    [ganesha.uri('missing.img'), 1, /no such file/, /size=100GiB/],
    [ganesha.uri('x').replace(ganesha.exportPath, '/nowhere'), 1, /export/, /lists the exports/],
    [strict.uri('mine.img', 'size=128MiB'), 1, /Permission denied/, /allow this host/],
    [ganesha.uri('image.qcow2'), 4, /qcow2/, /--force/],
  ];
  for (const [uri, exit, cause, remedy] of cases) {
    await expectRefused(['disk', 'add', 'silver', uri], { exit, cause, remedy });
  }
  expect(await document('disk', 'list')).toEqual(before);
});

test('a LUN that shrank is refused with both sizes', async () => {
  const own = await Tgt.start({ targetNumber: 3 });
  try {
    const lun = await own.addLun({ sizeBytes });
    await document('pool', 'create', 'short', own.uri(lun));
    await document('pool', 'export', 'short');
    await own.resizeLun(lun, sizeBytes / 2);
    await own.restart();
    const { exit, stderr } = await varve('pool', 'import', own.uri(lun));
    expect(stderr).toMatch(new RegExp(`${sizeBytes / 2}.*${sizeBytes}.*cut off`));
    expect(exit).toBe(1);
  } finally {
    await own.close();
  }
});

test('a disk that is passed through keeps its password for the next start, and nobody sees it', async () => {
  const lun = await guarded.addLun({ sizeBytes });
  const uri = withLogin(guarded, lun, `host%${secret}`);
  await document('disk', 'passthrough', uri, 'raw');
  await service.stop();
  service = await startService();
  expect(await document('export', 'show', 'raw')).toMatchObject({ state: 'online', failure: null });
  const kept = (name: string) => readFileSync(join(state, name), 'utf8');
  expect(kept('passthrough.json')).not.toContain(secret);
  expect(JSON.stringify(await document('disk', 'list'))).not.toContain(secret);
  expect(kept('passthrough-secrets.json')).toContain(secret);
  expect(statSync(join(state, 'passthrough-secrets.json')).mode & 0o777).toBe(0o600);
  await document('export', 'remove', 'raw');
  expect(kept('passthrough-secrets.json')).not.toContain(secret);
});

test('a portal that is lost is shown and told while its disk goes on', async () => {
  const [first, second] = [await TcpProxy.open(tgt.port), await TcpProxy.open(tgt.port)];
  const lun = await tgt.addLun({ sizeBytes });
  const portals = [first, second].map(({ port }) => `127.0.0.1:${port}`);
  const uri = tgt.uri(lun, portals);
  await document('pool', 'create', 'twin', uri);
  const paths = async () => {
    const { paths: shown } = (await document('disk', 'show', uri)) as {
      paths: { state: string }[];
    };
    return shown.map(({ state: each }) => each);
  };
  const events = async () => {
    const { items } = (await document('events')) as { items: { event: string; subject: string }[] };
    return items.filter(({ subject }) => subject === 'twin').map(({ event }) => event);
  };
  expect(await paths()).toEqual(['active', 'standby']);

  await first.cut();
  await expect.poll(paths, { timeout: 20_000 }).toEqual(['failed', 'active']);
  expect(await document('disk', 'show', uri)).toMatchObject({
    state: 'online',
    paths: [
      { portal: portals[0], reason: expect.any(String) },
      { portal: portals[1], reason: null },
    ],
  });
  expect(await document('status')).toMatchObject({
    health: 'warning',
    warnings: [{ code: 'disk/path-lost', message: expect.stringContaining(portals[0] as string) }],
  });
  expect((await varve('disk', 'show', uri)).stdout).toContain(
    `${portals[0]} failed, ${portals[1]} active`,
  );
  await first.restore();
  await expect.poll(paths, { timeout: 20_000 }).toEqual(['active', 'standby']);
  expect(await document('status')).toMatchObject({ health: 'ok', warnings: [] });
  expect((await events()).filter((event) => event.startsWith('disk/path'))).toEqual([
    'disk/path-lost',
    'disk/path-used',
    'disk/path-back',
    'disk/path-used',
  ]);
  await document('pool', 'export', 'twin');
  await second.cut();
  await first.cut();
});
