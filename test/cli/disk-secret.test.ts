// Goal: a CHAP secret reaches the URI of an iSCSI disk from a file or the environment, and no other URI.
// Method: the function itself, with real files.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { diskUris, withSecret } from '../../src/cli/disk-secret.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'varve-secret-'));
});
afterEach(async () => {
  delete process.env.VARVE_ISCSI_SECRET;
  await rm(folder, { recursive: true });
});

test.each([
  ['iscsi://me@host/iqn.x:a/1', 'p@ss', 'iscsi://me%p@ss@host/iqn.x:a/1'],
  ['iscsi://me@host/iqn.x:a/1', 'me%p@ss', 'iscsi://me%p@ss@host/iqn.x:a/1'],
  ['iscsi://a,b:1/iqn.x:a/1', 'me%secret', 'iscsi://me%secret@a,b:1/iqn.x:a/1'],
  ['iscsi://host/iqn.x:a/1', 'secret', 'iscsi://host/iqn.x:a/1'],
  ['iscsi://me%own@host/iqn.x:a/1', 'other', 'iscsi://me%own@host/iqn.x:a/1'],
  ['nfs://host/a', 'me%secret', 'nfs://host/a'],
  ['/disks/a', 'me%secret', '/disks/a'],
])('%s with %s', (uri, secret, told) => {
  expect(withSecret(uri, secret)).toBe(told);
});

test('from the first line of a file, or the environment; a file that holds none is refused', async () => {
  const uri = 'iscsi://me@host/iqn.x:a/1';
  const file = join(folder, 'chap');
  await writeFile(file, 'from-file\nmore\n');
  expect(await diskUris([uri], file)).toEqual(['iscsi://me%from-file@host/iqn.x:a/1']);
  process.env.VARVE_ISCSI_SECRET = 'from-environment';
  expect(await diskUris([uri], undefined)).toEqual(['iscsi://me%from-environment@host/iqn.x:a/1']);
  await writeFile(file, '\n');
  await expect(diskUris([uri], file)).rejects.toMatchObject({ code: 'request/invalid' });
  await expect(diskUris([uri], join(folder, 'none'))).rejects.toMatchObject({
    code: 'request/invalid',
  });
});
