// Goal: a disk is named in exactly the ways cli.md lists; anything else is refused with the offending part.
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { GiB } from '../../src/base/units.ts';
import { parseDiskUri } from '../../src/pool/disk-uri.ts';

test.each([
  ['/var/a.img', { kind: 'any', path: '/var/a.img', normalized: '/var/a.img' }],
  ['/var/../a.img', { kind: 'any', path: '/a.img', normalized: '/a.img' }],
  ['/a.img?size=1GiB', { kind: 'any', path: '/a.img', sizeBytes: GiB, normalized: '/a.img' }],
  ['/100%.img', { kind: 'any', path: '/100%.img', normalized: '/100%.img' }],
  ['file:/a.img', { kind: 'file', path: '/a.img', normalized: 'file:/a.img' }],
  ['file:///a.img', { kind: 'file', path: '/a.img', normalized: 'file:/a.img' }],
  ['file:/a%3fb', { kind: 'file', path: '/a?b', normalized: 'file:/a%3Fb' }],
  ['block:/dev/sdb', { kind: 'block', path: '/dev/sdb', normalized: 'block:/dev/sdb' }],
  [
    'nfs://Server/vol/a.img?size=1GiB',
    {
      kind: 'nfs',
      host: 'server',
      remotePath: '/vol/a.img',
      version: 3,
      sizeBytes: GiB,
      path: 'nfs://server/vol/a.img',
      normalized: 'nfs://server/vol/a.img',
    },
  ],
  [
    'nfs://[::1]/vol/../a%20b?mountport=2&nfsport=1&version=4',
    {
      kind: 'nfs',
      host: '[::1]',
      remotePath: '/a b',
      version: 4,
      nfsPort: 1,
      mountPort: 2,
      path: 'nfs://[::1]/a%20b?version=4&nfsport=1&mountport=2',
      normalized: 'nfs://[::1]/a%20b?version=4&nfsport=1&mountport=2',
    },
  ],
  [
    'iscsi://10.0.0.1:3260,Other:3261/IQN.2026-01.org.x:a/7',
    {
      kind: 'iscsi',
      portals: [
        { host: '10.0.0.1', port: 3260 },
        { host: 'other', port: 3261 },
      ],
      target: 'iqn.2026-01.org.x:a',
      lun: 7,
      path: 'iscsi://10.0.0.1,other:3261/iqn.2026-01.org.x:a/7',
      normalized: 'iscsi://10.0.0.1,other:3261/iqn.2026-01.org.x:a/7',
    },
  ],
])('%s', (text, expected) => {
  expect(parseDiskUri(text)).toEqual(expected);
  const again = parseDiskUri(parseDiskUri(text).normalized);
  expect(again.path).toBe(expected.path);
});

test.each([
  ['', 'request/invalid', 'absolute'],
  ['a.img', 'request/invalid', 'absolute'],
  ['file:a.img', 'request/invalid', 'absolute'],
  ['file://host/a.img', 'request/invalid', 'absolute'],
  ['/a\0b', 'request/invalid', 'zero byte'],
  ['/a?size=1GiB&mode=fast', 'request/invalid', '"mode"'],
  ['/a?size=1GiB&size=2GiB', 'request/invalid', 'twice'],
  ['/a?size=tall', 'request/invalid', 'tall'],
  ['block:/dev/sdb?size=1GiB', 'request/invalid', 'size'],
  ['file:/a%zz', 'request/invalid', 'percent'],
  ['ftp://host/a', 'request/invalid', '"ftp:"'],
  ['nfs:/host/a', 'request/invalid', 'nfs://'],
  ['nfs://host', 'request/invalid', 'path of a file'],
  ['nfs://host/export/', 'request/invalid', 'path of a file'],
  ['nfs:///export/a', 'request/invalid', 'no host name'],
  ['nfs://ho_st/a', 'request/invalid', 'no host name'],
  ['nfs://host:2049/a', 'request/invalid', 'nfsport'],
  ['nfs://host/a?version=2', 'request/invalid', 'version'],
  ['nfs://host/a?nfsport=0', 'request/invalid', 'nfsport'],
  ['nfs://host/a?nfsport=65536', 'request/invalid', 'nfsport'],
  ['nfs://host/a?mountport=x', 'request/invalid', 'mountport'],
  ['nfs://host/a?uid=0', 'request/invalid', '"uid"'],
  ['nfs://host/a?size=1GiB&size=2GiB', 'request/invalid', 'twice'],
  ['nfs://host/a%00', 'request/invalid', 'zero byte'],
  ['iscsi://host/iqn.2026-01.org.x:a', 'request/invalid', 'iscsi://'],
  ['iscsi://host/target/1', 'request/invalid', 'no target name'],
  ['iscsi://host/iqn.2026-01.org.x:a/one', 'request/invalid', 'LUN'],
  ['iscsi://host/iqn.2026-01.org.x:a/16384', 'request/invalid', 'LUN'],
  ['iscsi://host:0/iqn.2026-01.org.x:a/1', 'request/invalid', 'port'],
  ['iscsi://a,A:3260/iqn.2026-01.org.x:a/1', 'request/invalid', 'twice'],
  ['iscsi://a,/iqn.2026-01.org.x:a/1', 'request/invalid', 'no host name'],
])('%j is refused', (text, code, words) => {
  expect(() => parseDiskUri(text)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(words) }),
  );
});

test('a password opens the disk and is shown nowhere', () => {
  const uri = parseDiskUri('iscsi://me%p@ss/w%rd@[::1]/iqn.2026-01.org.x:a/0');
  expect(uri).toMatchObject({
    user: 'me',
    portals: [{ host: '[::1]', port: 3260 }],
    normalized: 'iscsi://me@[::1]/iqn.2026-01.org.x:a/0',
  });
  expect(uri.kind === 'iscsi' && uri.secret?.reveal()).toBe('p@ss/w%rd');
  for (const shown of [JSON.stringify(uri), inspect(uri, { depth: 9 }), `${uri.normalized}`]) {
    expect(shown).not.toContain('p@ss');
    expect(shown).not.toContain('w%rd');
  }
  expect(() => parseDiskUri('iscsi://me%p@ssword@host/nothing/1')).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('p@ss') }),
  );
});
