// Goal: whatever happens between a pool and a disk behind a network, clients wait and lose nothing; who reads what lies elsewhere does not
//   wait; events and status say what is the matter. Past the patience only what lies there fails.
// Method: real servers (nfs-ganesha, tgt) behind a proxy that is cut and restored; they are stopped in their tracks, killed and started
//   again. A libnbd client (clients/stamps.py) writes all the time and takes every error for a failure; at the end the service is
//   killed and each block compared. Replay with SEED=n.
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type Outcome, outcomeOf, run } from '../../tools/lib/command.ts';
import { Service } from '../../tools/lib/service.ts';
import { Ganesha } from '../servers/ganesha.ts';
import { TcpProxy } from '../servers/tcp-proxy.ts';
import { Tgt } from '../servers/tgt.ts';
import { Undo } from './raw-disks.ts';
import { chooseSeed } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

const MiB = 1024 * 1024;
const diskBytes = 256 * MiB;
/** Longer than ten seconds, after which a server counts as silent. */
const stateMs = 60_000;

/** A server with one disk, and the link to it. */
interface RemoteDisk {
  readonly uri: string;
  cut(): Promise<unknown>;
  restore(): Promise<unknown>;
  pause(): void;
  resume(): void;
  kill(): Promise<void>;
  restart(): Promise<void>;
}

const undo = new Undo();
let service: Service;
let remote: RemoteDisk;
afterEach(() => undo.all());

async function nfsDisk(): Promise<RemoteDisk> {
  const server = await Ganesha.open();
  undo.add(() => server.close());
  const file = join(server.exportPath, 'disk.img');
  writeFileSync(file, '');
  truncateSync(file, diskBytes);
  const nfs = await TcpProxy.open(server.nfsPort);
  const mount = await TcpProxy.open(server.mountPort);
  const proxies = [nfs, mount];
  undo.add(() => Promise.all(proxies.map((proxy) => proxy.cut())));
  return {
    uri: server.uri('disk.img', '', { nfsPort: nfs.port, mountPort: mount.port }),
    cut: () => Promise.all(proxies.map((proxy) => proxy.cut())),
    restore: () => Promise.all(proxies.map((proxy) => proxy.restore())),
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.kill(),
    restart: () => server.start(),
  };
}

async function iscsiDisk(): Promise<RemoteDisk> {
  const server = await Tgt.start();
  undo.add(() => server.close());
  const proxy = await TcpProxy.open(server.port);
  undo.add(() => proxy.cut());
  const lun = await server.addLun({ sizeBytes: diskBytes, thin: true });
  return {
    uri: server.uri(lun, [`127.0.0.1:${proxy.port}`]),
    cut: () => proxy.cut(),
    restore: () => proxy.restore(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.kill(),
    restart: () => server.restart(),
  };
}

/** Three files that carry the journal, and the disk behind the network for data alone; a volume on each. */
async function serve(makeDisk: () => Promise<RemoteDisk>): Promise<void> {
  service = await Service.start();
  undo.add(() => service.dispose());
  remote = await makeDisk();
  const files = await service.createPool('256MiB', 3);
  await service.varve('disk', 'add', 'main', remote.uri);
  await service.varve('disk', 'set-class', remote.uri, 'far');
  for (const file of files) await service.varve('disk', 'set-class', file, 'near');
  for (const place of ['far', 'near']) {
    const shape = ['--size', '64MiB', '--pool', 'main', '--class', place];
    await service.varve('volume', 'create', place, ...shape);
    await service.varve('export', 'add', place);
  }
}

/** Steps of Python on an export, `h` its libnbd handle; by the distribution's Python, which python3-libnbd is installed for. */
function nbd(volume: string, steps: string): Promise<Outcome> {
  const connect = `import nbd\nh = nbd.NBD()\nh.connect_uri("${service.uri(volume)}")\n`;
  return outcomeOf('/usr/bin/python3', ['-c', connect + steps]);
}

/** Reads and writes what lies on the other disks, and flushes. */
async function expectNearGoesOn(): Promise<void> {
  const steps = 'h.pwrite(b"near" * 1024, 0); h.flush(); assert h.pread(4096, 0) == b"near" * 1024';
  const { status, stderr } = await nbd('near', steps);
  expect(status, stderr).toBe(0);
}

async function eventCount(kind: string): Promise<number> {
  const { items } = await service.rest('GET', '/v1/events');
  return (items ?? []).filter(({ event }) => event === kind).length;
}

async function toldAgain(kind: string, before: number): Promise<void> {
  await expect.poll(() => eventCount(kind), { timeout: stateMs }).toBe(before + 1);
}

/** The disk goes from one state to the next while the step is done; events tell. */
async function expectEvent(kind: string, step: () => unknown): Promise<void> {
  const before = await eventCount(kind);
  await step();
  await toldAgain(kind, before);
}

async function expectSuspendedInStatus(): Promise<void> {
  expect(await service.varve('disk', 'show', remote.uri)).toMatchObject({ state: 'suspended' });
  expect(await service.varve('status')).toMatchObject({
    health: 'warning',
    warnings: [{ code: 'disk/suspended', message: expect.stringContaining(remote.uri) }],
  });
  const { stdout } = await service.outcome(['status']);
  expect(stdout).toMatch(/requests wait, for \d+ s more/);
}

describe.each([
  ['nfs', nfsDisk],
  ['iscsi', iscsiDisk],
] as const)('a disk behind %s', (_kind, makeDisk) => {
  test('is away for a while in every way, and no client notices', {
    timeout: 300_000,
  }, async () => {
    const seed = chooseSeed();
    await serve(makeDisk);
    await expectNearGoesOn();
    const range = { uri: service.uri('far'), volume: 1, firstBlock: 0, blockCount: 4096 };
    const client = new StampedClient(service.folder, range);
    client.start(seed);
    undo.add(() => client.kill());
    const progress = async () => {
      const before = client.acknowledged;
      await expect
        .poll(() => client.acknowledged, { timeout: stateMs })
        .toBeGreaterThan(before + 200);
    };
    await progress();
    const faults = [
      ['link cut', () => remote.cut(), () => remote.restore()],
      ['server slow', () => remote.pause(), () => remote.resume()],
      ['server restarted', () => remote.kill(), () => remote.restart()],
    ] as const;
    for (const [name, begin, end] of faults) {
      await expectEvent('disk/suspended', begin);
      await expectSuspendedInStatus();
      await expectNearGoesOn();
      await expectEvent('disk/resumed', end);
      await progress();
      expect(await service.varve('status'), name).toMatchObject({ health: 'ok', warnings: [] });
    }
    await service.kill9();
    // It fails when any request was answered with an error.
    await client.ended();
    await service.restart();
    expect((await client.verify()).wrong, `SEED=${seed}`).toEqual([]);
    expect(await eventCount('disk/failed')).toBe(0);
    expect((await service.varve('pool', 'check', 'main')).findings).toEqual([]);
  });

  test('is away for longer than the patience: what lies there fails, nothing else, until it is back', {
    timeout: 180_000,
  }, async () => {
    await serve(makeDisk);
    await service.varve('pool', 'set', 'main', '--patience', '1s');
    const write = (at: string, byte: number) =>
      run('qemu-io', [
        '-f',
        'raw',
        '-c',
        `write -P ${byte} ${at} 1M`,
        '-c',
        'flush',
        service.uri('far'),
      ]);
    await write('0', 1);
    // The volume's second part finds no room where it belongs.
    await service.varve('disk', 'cordon', remote.uri);
    await write('32M', 2);
    await service.varve('disk', 'uncordon', remote.uri);

    await remote.cut();
    const steps = [
      'import errno',
      'assert h.pread(4, 32 << 20) == b"\\2" * 4',
      'h.pwrite(b"\\3" * 4096, 32 << 20)',
      'error = None',
      'try: h.pread(4096, 0)',
      'except nbd.Error as e: error = e.errno',
      'assert error == "EIO", error',
      'assert h.pread(4096, 32 << 20) == b"\\3" * 4096',
    ];
    const { status, stderr } = await nbd('far', steps.join('\n'));
    expect(status, stderr).toBe(0);
    await expectNearGoesOn();
    expect(await service.varve('disk', 'show', remote.uri)).toMatchObject({ state: 'failed' });
    expect(await service.varve('status')).toMatchObject({
      health: 'critical',
      warnings: [{ code: 'disk/failed', message: expect.stringContaining(remote.uri) }],
    });
    await expectEvent('disk/resumed', () => remote.restore());
    const all = 'assert h.pread(1 << 20, 0) == b"\\1" * (1 << 20); h.flush()';
    const after = await nbd('far', all);
    expect(after.status, after.stderr).toBe(0);
    expect(await service.varve('status')).toMatchObject({ health: 'ok' });
    expect((await service.varve('pool', 'check', 'main')).findings).toEqual([]);
  });
});
