// Goal: what we print attaches as it is: URIs, QEMU's arguments and QMP objects, libvirt's XML.
// Method: pin the texts for plain and for awkward names; read addresses back.
import { expect, test } from 'vitest';
import { formatAddress, nbdUri, parseAddress, sameAddresses } from '../../src/export/address.ts';
import {
  attachOptionsOf,
  libvirtXml,
  qemuArguments,
  qmpCommands,
} from '../../src/export/attach.ts';

const local = {
  exportName: 'gold',
  address: parseAddress('unix:/run/v/nbd.sock'),
  serial: '3f0c8a52-9b1e-8c55-a',
  readOnly: false,
};
const remote = { ...local, address: parseAddress('tcp:[::1]:10809'), readOnly: true };

test('QEMU arguments of a local export', () => {
  expect(qemuArguments(local)).toEqual([
    '-blockdev',
    'driver=nbd,node-name=varve-gold,server.type=unix,server.path=/run/v/nbd.sock,export=gold,' +
      'reconnect-delay=3600,open-timeout=30,discard=unmap,detect-zeroes=unmap',
    '-device',
    'virtio-blk-pci,id=varve-gold-disk,drive=varve-gold,serial=3f0c8a52-9b1e-8c55-a',
  ]);
});

test('QEMU arguments of a read-only export over TCP', () => {
  expect(qemuArguments(remote)[1]).toBe(
    'driver=nbd,node-name=varve-gold,server.type=inet,server.host=::1,server.port=10809,export=gold,' +
      'reconnect-delay=3600,open-timeout=30,read-only=on',
  );
});

test('a comma in a path is doubled for QEMU', () => {
  const address = parseAddress('unix:/a,b/nbd.sock');
  expect(qemuArguments({ ...local, address })[1]).toContain('server.path=/a,,b/nbd.sock');
});

test('long names are shortened to what QEMU takes, and stay apart', () => {
  const nodes = ['x', 'y'].map((last) => {
    const [blockdev] = qmpCommands({ ...local, exportName: `${'n'.repeat(60)}${last}` });
    return String(blockdev.arguments['node-name']);
  });
  expect(nodes.map((node) => node.length)).toEqual([31, 31]);
  expect(new Set(nodes).size).toBe(2);
});

test('libvirt XML escapes and reconnects', () => {
  const address = parseAddress("unix:/a'&<b>.sock");
  expect(libvirtXml({ ...local, address })).toBe(
    `<disk type='network' device='disk'>
  <driver name='qemu' type='raw' cache='none' error_policy='stop' rerror_policy='stop' discard='unmap' detect_zeroes='unmap'/>
  <source protocol='nbd' name='gold'>
    <host transport='unix' socket='/a&apos;&amp;&lt;b&gt;.sock'/>
    <reconnect delay='3600'/>
  </source>
  <target dev='vdb' bus='virtio'/>
  <serial>3f0c8a52-9b1e-8c55-a</serial>
</disk>`,
  );
});

test('URIs percent-encode the socket path', () => {
  expect(nbdUri(parseAddress('unix:/a b/ü?.sock'), 'gold')).toBe(
    'nbd+unix:///gold?socket=/a%20b/%C3%BC%3F.sock',
  );
  expect(nbdUri(parseAddress('tcp:[::1]:10809'), 'gold')).toBe('nbd://[::1]:10809/gold');
});

test.each(['unix:/a/b', 'tcp:localhost:10809', 'tcp:[fe80::1]:1'])('%s reads back', (text) => {
  expect(formatAddress(parseAddress(text))).toBe(text);
});

test.each([
  'nbd.sock',
  'unix:relative',
  'tcp:host',
  'tcp:host:70000',
  'tcp::1',
  'http://x:1',
  `unix:/${'x'.repeat(120)}`,
])('%s is refused', (text) => {
  expect(() => parseAddress(text)).toThrow();
});

test('a stored port answers a wish for any', () => {
  expect(sameAddresses(['tcp:h:4000'], ['tcp:h:0'])).toBe(true);
  expect(sameAddresses(['tcp:h:4000'], ['tcp:h:4001'])).toBe(false);
  expect(sameAddresses([], ['tcp:h:0'])).toBe(false);
});

test('an export is reached by its first address, or by the one that is named', () => {
  const info = { name: 'gold', serial: 's', readOnly: false, listen: ['unix:/a', 'tcp:h:4000'] };
  expect(attachOptionsOf(info).address).toEqual(parseAddress('unix:/a'));
  expect(attachOptionsOf(info, 'tcp:h:4000').address).toEqual(parseAddress('tcp:h:4000'));
  expect(() => attachOptionsOf(info, 'tcp:h:1')).toThrow(/unix:\/a tcp:h:4000/);
});
