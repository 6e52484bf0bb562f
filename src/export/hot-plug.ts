/**
 * Hot-plug: puts an export into a running QEMU and takes it out again, step by step over its monitor.
 *
 *   nothing there ──blockdev-add──▶ node ──device_add──▶ disk of the guest
 *         ◀──────blockdev-del────── node ◀──device_del, the guest lets go──
 *
 * Guarantees: what is there already is left as it is; when QEMU refuses a step, the steps before it are taken back.
 */
import { messageOf } from '../base/errors.ts';
import type { GuestDiskIds, QmpCommand } from './attach.ts';
import { type QmpChannel, QmpRefusal } from './qmp-channel.ts';

/** How it is attached; both are paravirtual. virtio-scsi takes many disks on one slot. */
export const guestBuses = ['virtio-blk', 'virtio-scsi'] as const;
export type GuestBus = (typeof guestBuses)[number];

/** Of a controller that was added because the guest had none. */
const controllerId = 'varve-scsi';

export async function isPlugged(qmp: QmpChannel, { device }: GuestDiskIds): Promise<boolean> {
  return (await peripherals(qmp)).some(({ name }) => name === device);
}

/** @throws QmpRefusal nothing was changed, but for a controller that was added */
export async function plug(
  qmp: QmpChannel,
  commands: readonly [QmpCommand, QmpCommand],
  bus: GuestBus,
): Promise<void> {
  const [blockdev, device] = commands;
  const node = String(blockdev.arguments['node-name']);
  // Left by somebody who died between the steps, it may lead elsewhere.
  if (await hasNode(qmp, node)) await qmp.command('blockdev-del', { 'node-name': node });
  await qmp.command(blockdev.execute, blockdev.arguments);
  try {
    if (bus === 'virtio-scsi') await addToController(qmp, device);
    else await addToSlot(qmp, device.arguments);
  } catch (error) {
    await qmp.command('blockdev-del', { 'node-name': node });
    throw error;
  }
}

/** Resolves when the guest has let go. @throws QmpRefusal; the channel's error when time is over: QEMU goes on asking the guest */
export async function unplug(qmp: QmpChannel, { node, device }: GuestDiskIds): Promise<void> {
  if (await isPlugged(qmp, { node, device })) {
    await askToLetGo(qmp, device);
    await qmp.event(({ event, data }) => event === 'DEVICE_DELETED' && data?.device === device);
  }
  if (await hasNode(qmp, node)) await qmp.command('blockdev-del', { 'node-name': node });
}

/** As far as QEMU knows; undefined when the node is not there. */
export async function sizeOf(qmp: QmpChannel, node: string): Promise<number | undefined> {
  return (await nodes(qmp)).find((each) => each['node-name'] === node)?.image['virtual-size'];
}

/**
 * Tells the guest of an export that has grown. Its connections were closed, so that QEMU connects again and learns the size.
 *
 * @throws QmpRefusal
 */
export async function grow(qmp: QmpChannel, node: string, sizeBytes: number): Promise<void> {
  // It connects again when there is something to be read, and refuses the size before.
  const read = { 'command-line': `qemu-io ${node} "read -q 0 512"` };
  await qmp.command('human-monitor-command', read);
  await qmp.command('block_resize', { 'node-name': node, size: sizeBytes });
}

async function askToLetGo(qmp: QmpChannel, device: string): Promise<void> {
  try {
    await qmp.command('device_del', { id: device });
  } catch (error) {
    // The guest was asked before and has not answered yet.
    if (!(error instanceof QmpRefusal && /in the process of unplug/.test(error.message)))
      throw error;
  }
}

async function addToController(qmp: QmpChannel, device: QmpCommand): Promise<void> {
  const bus = `${await scsiController(qmp)}.0`;
  await qmp.command('device_add', { ...device.arguments, driver: 'scsi-hd', bus });
}

async function scsiController(qmp: QmpChannel): Promise<string> {
  const isController = ({ type }: Peripheral) => type === 'child<virtio-scsi-pci>';
  const there = (await peripherals(qmp)).find(isController);
  if (there !== undefined) return there.name;
  await addToSlot(qmp, { driver: 'virtio-scsi-pci', id: controllerId });
  return controllerId;
}

/** Where QEMU would put it, if that takes devices while it runs; else behind a PCIe root port that is free. */
async function addToSlot(qmp: QmpChannel, device: object): Promise<void> {
  let refusal: unknown;
  for (const place of [{}, ...(await freePorts(qmp))]) {
    try {
      await qmp.command('device_add', { ...device, ...place });
      return;
    } catch (error) {
      if (!(error instanceof QmpRefusal && isForWantOfRoom(error))) throw error;
      refusal ??= error;
    }
  }
  throw refusal;
}

/** QEMU has no code for it. */
export function isForWantOfRoom(refusal: QmpRefusal): boolean {
  return /hotplug|hot-plug|slot/i.test(messageOf(refusal));
}

interface PciDevice {
  readonly qdev_id?: string;
  readonly pci_bridge?: { readonly devices?: readonly PciDevice[] };
}

async function freePorts(qmp: QmpChannel): Promise<{ bus: string }[]> {
  const buses = (await qmp.command('query-pci')) as { devices: readonly PciDevice[] }[];
  return buses
    .flatMap(({ devices }) => devices)
    .filter(({ pci_bridge: bridge }) => bridge !== undefined && (bridge.devices ?? []).length === 0)
    .flatMap(({ qdev_id: id }) => (id === undefined || id === '' ? [] : [{ bus: id }]));
}

interface Peripheral {
  readonly name: string;
  readonly type: string;
}

/** Devices that have an id. */
async function peripherals(qmp: QmpChannel): Promise<readonly Peripheral[]> {
  return (await qmp.command('qom-list', { path: '/machine/peripheral' })) as Peripheral[];
}

async function hasNode(qmp: QmpChannel, node: string): Promise<boolean> {
  return (await sizeOf(qmp, node)) !== undefined;
}

interface BlockNode {
  readonly 'node-name': string;
  readonly image: { readonly 'virtual-size': number };
}

async function nodes(qmp: QmpChannel): Promise<readonly BlockNode[]> {
  return (await qmp.command('query-named-block-nodes', { flat: true })) as BlockNode[];
}
