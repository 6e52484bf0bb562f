/**
 * How a hypervisor attaches an export: QEMU's command line and QMP objects, libvirt's XML. Pure.
 *
 * Every form asks for reconnection: a stopped or killed service then pauses the guest's I/O instead of failing it
 * (QEMU's default is to fail at once), and discard reaches us, so that freed space comes back.
 */
import { createHash } from 'node:crypto';
import { invariant, StorageError } from '../base/errors.ts';
import { type Address, parseAddress } from './address.ts';
import type { ExportInfo } from './types.ts';

export interface AttachOptions {
  readonly exportName: string;
  readonly address: Address;
  /** What the guest knows it by: serial.ts. */
  readonly serial: string;
  readonly readOnly: boolean;
}

export interface QmpCommand {
  readonly execute: string;
  readonly arguments: Record<string, unknown>;
}

/** What a guest has of an export. */
export interface GuestDiskIds {
  /** QEMU's block node. */
  readonly node: string;
  /** Its device. */
  readonly device: string;
}

/** An hour: longer than any restart or upgrade; then the guest gets its error. */
const reconnectDelaySeconds = 3600;
/** Patience while QEMU starts before the service does. Needs QEMU 7.0. */
const openTimeoutSeconds = 30;
/** QEMU refuses longer ones. */
const nodeNameCharsMax = 31;

/**
 * @param through one of its addresses; else the first: the default socket, the one for guests on this host
 * @throws StorageError request/invalid it does not listen there
 */
export function attachOptionsOf(
  { name, listen, serial, readOnly }: Pick<ExportInfo, 'name' | 'listen' | 'serial' | 'readOnly'>,
  through = listen[0],
): AttachOptions {
  invariant(through !== undefined, 'an export has an address');
  if (!listen.includes(through)) {
    const message = `export ${name} does not listen on ${through}, but on ${listen.join(' ')}`;
    throw new StorageError('request/invalid', message);
  }
  return { exportName: name, address: parseAddress(through), serial, readOnly };
}

export function guestDiskIds(exportName: string): GuestDiskIds {
  const node = shortened(`varve-${exportName}`, nodeNameCharsMax);
  return { node, device: `${node}-disk` };
}

/** Arguments for QEMU 7.0 or newer, one per element, ready for execve (not quoted for a shell). */
export function qemuArguments(options: AttachOptions): string[] {
  const [blockdev, device] = qmpCommands(options);
  const { driver, ...properties } = device.arguments;
  return [
    '-blockdev',
    keyValues(blockdev.arguments),
    '-device',
    `${driver},${keyValues(properties)}`,
  ];
}

/** Commands that attach the export to a running QEMU, in order. */
export function qmpCommands(options: AttachOptions): [QmpCommand, QmpCommand] {
  const { node, device: id } = guestDiskIds(options.exportName);
  const blockdev = {
    driver: 'nbd',
    'node-name': node,
    server: qemuServer(options.address),
    export: options.exportName,
    'reconnect-delay': reconnectDelaySeconds,
    'open-timeout': openTimeoutSeconds,
    ...(options.readOnly ? { 'read-only': true } : { discard: 'unmap', 'detect-zeroes': 'unmap' }),
  };
  const device = { driver: 'virtio-blk-pci', id, drive: node, serial: options.serial };
  return [
    { execute: 'blockdev-add', arguments: blockdev },
    { execute: 'device_add', arguments: device },
  ];
}

/**
 * A `<disk>` element for `virsh attach-device` or a domain's definition. A libvirt before 9.2 leaves the reconnection out (`libvirtReconnects`):
 * then the error policy pauses the guest, until `virsh resume`, where its disk would fail.
 *
 * @param target the guest's name of it, which libvirt wants and the guest need not follow
 */
export function libvirtXml(options: AttachOptions, target = 'vdb'): string {
  const unmap = options.readOnly ? '' : ` discard='unmap' detect_zeroes='unmap'`;
  return [
    `<disk type='network' device='disk'>`,
    `  <driver name='qemu' type='raw' cache='none' error_policy='stop' rerror_policy='stop'${unmap}/>`,
    `  <source protocol='nbd' name='${xmlText(options.exportName)}'>`,
    `    ${libvirtHost(options.address)}`,
    `    <reconnect delay='${reconnectDelaySeconds}'/>`,
    `  </source>`,
    `  <target dev='${target}' bus='virtio'/>`,
    ...(options.readOnly ? [`  <readonly/>`] : []),
    `  <serial>${xmlText(options.serial)}</serial>`,
    `</disk>`,
  ].join('\n');
}

/** Whether a libvirt passes on that QEMU is to reconnect. @param version as [9, 2, 0] */
export function libvirtReconnects([major = 0, minor = 0]: readonly number[]): boolean {
  return major > 9 || (major === 9 && minor >= 2);
}

function qemuServer(address: Address): Record<string, string> {
  if (address.kind === 'unix') return { type: 'unix', path: address.path };
  return { type: 'inet', host: address.host, port: String(address.port) };
}

function libvirtHost(address: Address): string {
  if (address.kind === 'unix') return `<host transport='unix' socket='${xmlText(address.path)}'/>`;
  return `<host name='${xmlText(address.host)}' port='${address.port}'/>`;
}

/** `a=1,b.c=2`; QEMU reads a doubled comma as one that belongs to the value. */
function keyValues(properties: Record<string, unknown>, prefix = ''): string {
  return Object.entries(properties)
    .map(([key, value]) => {
      if (typeof value === 'object') {
        return keyValues(value as Record<string, unknown>, `${prefix}${key}.`);
      }
      const text = value === true ? 'on' : String(value).replaceAll(',', ',,');
      return `${prefix}${key}=${text}`;
    })
    .join(',');
}

/** A long name keeps its beginning and gets a digest, so that two long names stay apart. */
function shortened(name: string, charsMax: number): string {
  if (name.length <= charsMax) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${name.slice(0, charsMax - 9)}-${digest}`;
}

function xmlText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;');
}
