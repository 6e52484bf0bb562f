// Goal: a disk is named in exactly the ways cli.md lists; anything else is refused with the offending part.
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
  ['nfs://host/a', 'disk/unusable', 'later version'],
  ['iscsi://host/iqn/1', 'disk/unusable', 'later version'],
])('%j is refused', (text, code, words) => {
  expect(() => parseDiskUri(text)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(words) }),
  );
});
