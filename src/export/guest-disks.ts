/**
 * Guest disks: a volume into a running QEMU guest and out of it, by QEMU's monitor.
 *
 * Guarantees: asking for what is so already changes nothing; when QEMU cannot be reached or refuses, the volume is exported only if it was before.
 * What a guest reads and writes goes by NBD; the monitor is used only here, and closed afterwards.
 */
import { messageOf, StorageError } from '../base/errors.ts';
import { TimeLimit } from '../base/time-limit.ts';
import { attachOptionsOf, type GuestDiskIds, guestDiskIds, qmpCommands } from './attach.ts';
import type { ExportService } from './export-service.ts';
import { type AttachTerms, exportedInto, notLetGo } from './guest-export.ts';
import {
  type GuestBus,
  grow,
  isForWantOfRoom,
  isPlugged,
  plug,
  sizeOf,
  unplug,
} from './hot-plug.ts';
import { QmpChannel, QmpRefusal } from './qmp-channel.ts';
import type { ExportInfo } from './types.ts';

export interface GuestDisk extends GuestDiskIds {
  readonly volume: string;
  readonly export: string;
  /** When the service is away for a while the guest's requests wait. */
  readonly reconnects: boolean;
  readonly changed: boolean;
}

export interface GuestDiskOptions {
  /** The path of its socket on the service's host. */
  readonly monitor: string;
  readonly dryRun?: boolean;
}

export interface DetachOptions extends GuestDiskOptions {
  readonly timeoutMs?: number;
}

/** Longer than QEMU itself tries to reach an export. */
const attachMs = 40_000;
/** A guest that is alive lets go within seconds, behind PCIe about five. */
const detachMs = 30_000;

type Exports = Pick<
  ExportService,
  'nameOfVolume' | 'clientsOf' | 'get' | 'add' | 'remove' | 'disconnect'
>;

export class GuestDisks {
  readonly #exports: Exports;

  constructor(exports: Exports) {
    this.#exports = exports;
  }

  /**
   * Exports the volume if it is not, and plugs it in.
   *
   * @throws StorageError volume/not-found, export/exists, export/listen, guest/monitor, guest/refused; export/busy somebody else has it
   */
  attach(
    volume: string,
    bus: GuestBus,
    { monitor, ...terms }: GuestDiskOptions & AttachTerms,
  ): Promise<GuestDisk> {
    return withMonitor(monitor, attachMs, async (qmp) => {
      const before = this.#exports.nameOfVolume(volume);
      const name = before ?? volume;
      const disk = { volume, export: name, ...guestDiskIds(name), reconnects: true };
      if (before !== null && (await isPlugged(qmp, disk))) return { ...disk, changed: false };
      const into = (info: ExportInfo) => plug(qmp, qmpCommands(attachOptionsOf(info)), bus);
      await exportedInto(this.#exports, volume, into, terms);
      return { ...disk, changed: true };
    });
  }

  /**
   * Resolves when the guest has let go; the export stays.
   *
   * @throws StorageError guest/monitor, guest/refused; guest/busy: the guest has not let go in time, and may do so later
   */
  detach(
    volume: string,
    { monitor, dryRun = false, timeoutMs = detachMs }: DetachOptions,
  ): Promise<GuestDisk> {
    return withMonitor(monitor, timeoutMs, async (qmp) => {
      const name = this.#exports.nameOfVolume(volume) ?? volume;
      const disk = { volume, export: name, ...guestDiskIds(name), reconnects: true };
      const changed = await isPlugged(qmp, disk);
      if (!dryRun) await unplug(qmp, disk).catch(notLetGo(volume));
      return { ...disk, changed };
    });
  }

  /**
   * Tells the guest how large the volume is now; its connections are closed for that behind what is in flight, and it comes again.
   *
   * @throws StorageError guest/monitor; guest/refused, also when the volume is not in the guest
   */
  announceSize(volume: string, { monitor, dryRun = false }: GuestDiskOptions): Promise<GuestDisk> {
    return withMonitor(monitor, attachMs, async (qmp) => {
      const name = this.#exports.nameOfVolume(volume);
      const ids = guestDiskIds(name ?? volume);
      if (name === null || !(await isPlugged(qmp, ids))) throw notThere(volume, monitor);
      const { sizeBytes } = this.#exports.get(name);
      const changed = (await sizeOf(qmp, ids.node)) !== sizeBytes;
      if (changed && !dryRun) {
        await this.#exports.disconnect(volume);
        await grow(qmp, ids.node, sizeBytes);
      }
      return { volume, export: name, ...ids, reconnects: true, changed };
    });
  }
}

/** @throws StorageError in place of what QEMU and its socket say */
async function withMonitor<T>(
  monitor: string,
  timeoutMs: number,
  work: (qmp: QmpChannel) => Promise<T>,
): Promise<T> {
  const limit = new TimeLimit(timeoutMs);
  try {
    const qmp = await QmpChannel.open(monitor, limit.signal);
    try {
      return await work(qmp);
    } finally {
      qmp.close();
    }
  } catch (error) {
    throw error instanceof StorageError ? error : monitorError(monitor, error);
  } finally {
    limit.clear();
  }
}

function monitorError(monitor: string, cause: unknown): StorageError {
  const message = `QEMU at ${monitor}: ${messageOf(cause)}`;
  if (!(cause instanceof QmpRefusal)) return new StorageError('guest/monitor', message, { cause });
  const actions = isForWantOfRoom(cause)
    ? ['start the guest with pcie-root-port devices that are free, or attach by --bus virtio-scsi']
    : undefined;
  return new StorageError('guest/refused', message, { cause, ...(actions && { actions }) });
}

function notThere(volume: string, monitor: string): StorageError {
  return new StorageError('guest/refused', `${volume} is not in the guest at ${monitor}`, {
    actions: [`varve attach ${volume} --qmp ${monitor}`],
  });
}
