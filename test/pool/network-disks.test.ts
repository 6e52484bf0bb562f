// Goal: network disks are probed, planned and remembered as local ones are, and their passwords are kept apart.
// Method: the functions that decide, over a data plane that answers from memory; no server. Real servers: nfs-disk.test.ts.
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newUuid } from '../../src/base/ids.ts';
import { MiB } from '../../src/base/units.ts';
import type { DiskSpec } from '../../src/dataplane/binding.ts';
import { DataPlaneError, type DiskPlane } from '../../src/dataplane/data-plane.ts';
import { identifyPool, locateDisks, planBackings, usedDisks } from '../../src/pool/backing.ts';
import { createFiles } from '../../src/pool/backing-files.ts';
import { encodeLabel } from '../../src/pool/format/label.ts';
import { PoolList } from '../../src/pool/pool-list.ts';
import { sampleLabel } from './format/samples.ts';

interface RemoteDisk {
  readonly identity: string;
  readonly content: Uint8Array;
}

/** Disks by the path or the target's name. */
class Remote {
  readonly disks = new Map<string, RemoteDisk | number>();
  readonly specs: DiskSpec[] = [];
  readonly created: [path: string, sizeBytes: number][] = [];
  readonly removed: string[] = [];

  async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    this.specs.push(spec);
    const disk = this.disks.get(spec.nfs?.path ?? spec.iscsi?.target ?? '') ?? 2;
    if (typeof disk === 'number') throw new DataPlaneError(disk, 'find the file: cause');
    const { identity, content } = disk;
    const read = async (offset: number, length: number) => content.slice(offset, offset + length);
    return { identity, sizeBytes: content.length, read, async close() {} } as unknown as DiskPlane;
  }

  async createNfsFile({ path }: { path: string }, sizeBytes: number): Promise<void> {
    if (path.includes('full')) throw new DataPlaneError(28, 'make the file: no space');
    this.created.push([path, sizeBytes]);
  }

  async removeNfsFile({ path }: { path: string }): Promise<void> {
    this.removed.push(path);
  }
}

const rules = { force: false, usedAs: () => undefined };
const target = 'iqn.2026-01.org.x:a';
let remote: Remote;
let stateDir: string;

beforeEach(async () => {
  remote = new Remote();
  stateDir = await mkdtemp(join(tmpdir(), 'varve-network-'));
});
afterEach(() => rm(stateDir, { recursive: true }));

function blank(identity: string): RemoteDisk {
  return { identity, content: new Uint8Array(2 * MiB) };
}

test('a disk that is there is planned with its size, and opened without claiming it', async () => {
  remote.disks.set('/vol/a', blank('nfs:1'));
  const [plan] = await planBackings(remote, ['nfs://host/vol/a?version=4'], rules);
  expect(plan).toEqual({
    location: {
      kind: 'nfs',
      uri: 'nfs://host/vol/a?version=4',
      path: 'nfs://host/vol/a?version=4',
    },
    sizeBytes: 2 * MiB,
    create: false,
    identity: 'nfs:1',
  });
  expect(remote.specs).toEqual([
    {
      kind: 'nfs',
      nfs: { host: 'host', path: '/vol/a', version: 4, nfsPort: 0, mountPort: 0 },
      readOnly: true,
    },
  ]);
});

test('two names of one disk, its content and its pool are noticed', async () => {
  const ours = blank('nfs:1');
  ours.content.set(encodeLabel(sampleLabel({ generation: 1 })));
  remote.disks.set('/vol/a', blank('nfs:2')).set('/vol/b', blank('nfs:2')).set('/vol/c', ours);
  const plan = (uris: string[], usedAs = rules.usedAs as (id: string) => string | undefined) =>
    planBackings(remote, uris, { force: false, usedAs });
  await expect(plan(['nfs://host/vol/a', 'nfs://host/vol/b'])).rejects.toMatchObject({
    code: 'request/invalid',
    message: expect.stringContaining('are one disk'),
  });
  await expect(plan(['nfs://host/vol/c'])).rejects.toMatchObject({ code: 'disk/in-use' });
  const disks = await locateDisks(remote, ['nfs://host/vol/c']);
  expect((await identifyPool(remote, disks)).name).toBe(sampleLabel({}).poolName);
  const used = await usedDisks(remote, [{ use: 'belongs to pool gold', disks }]);
  await expect(plan(['nfs://host/vol/c'], (id) => used.get(id))).rejects.toMatchObject({
    message: expect.stringContaining('belongs to pool gold'),
  });
});

test('a missing file is made when its size is given; what was made goes when another cannot be', async () => {
  await expect(planBackings(remote, ['nfs://host/vol/a'], rules)).rejects.toMatchObject({
    code: 'disk/unusable',
    actions: ['name its size to have it created: nfs://host/vol/a?size=100GiB'],
  });
  const uris = ['nfs://host/vol/a?size=1MiB', 'nfs://host/full/b?size=1MiB'];
  const plans = await planBackings(remote, uris, rules);
  await expect(createFiles(remote, plans)).rejects.toMatchObject({ code: 'disk/unusable' });
  expect(remote.created).toEqual([['/vol/a', MiB]]);
  expect(remote.removed).toEqual(['/vol/a']);
});

test.each([
  ['nfs://host/vol/a', constants.errno.EACCES, 'allow this host'],
  ['nfs://host/vol/a', constants.errno.EHOSTUNREACH, 'firewall'],
  ['nfs://host/vol/a', 65, 'apt-get install libnfs13'],
  [`iscsi://host/${target}/1`, 65, 'apt-get install libiscsi7'],
])('%s with errno %i says what helps', async (uri, errno, words) => {
  remote.disks.set('/vol/a', errno).set(target, errno);
  await expect(planBackings(remote, [uri], rules)).rejects.toMatchObject({
    code: 'disk/unusable',
    actions: [
      expect.stringContaining(words),
      ...(words.startsWith('allow') ? [expect.anything()] : []),
    ],
  });
});

test('a password is kept apart, and is there after a restart', async () => {
  remote.disks.set(target, blank('naa.1'));
  const disks = await locateDisks(remote, [`iscsi://me%open-sesame@host/${target}/1`]);
  const list = await PoolList.open(stateDir);
  const uuid = newUuid();
  await list.put({ uuid, name: 'gold', disks });
  expect(await readFile(join(stateDir, 'pools.json'), 'utf8')).not.toContain('open-sesame');
  expect((await stat(join(stateDir, 'disk-secrets.json'))).mode & 0o777).toBe(0o600);

  const again = await PoolList.open(stateDir);
  await locateDisks(remote, []);
  const [entry] = again.entries;
  expect(entry?.disks[0]?.secret?.reveal()).toBe('open-sesame');
  await identifyPool(remote, entry?.disks ?? []).catch(() => undefined);
  expect(remote.specs.at(-1)?.iscsi).toMatchObject({ user: 'me', secret: 'open-sesame', lun: 1 });

  await again.remove(uuid);
  expect(await readFile(join(stateDir, 'disk-secrets.json'), 'utf8')).not.toContain('open-sesame');
});
