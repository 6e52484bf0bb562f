/**
 * Domain disks: a volume into a running guest of libvirt and out of it.
 *
 * Guarantees: asking for what is so already changes nothing; when libvirt cannot be reached or refuses, the volume is exported only if it was before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, StorageError } from '../base/errors.ts';
import { TimeLimit, TimeOver } from '../base/time-limit.ts';
import { attachOptionsOf, libvirtReconnects, libvirtXml } from './attach.ts';
import type { ExportService } from './export-service.ts';
import { type AttachTerms, exportedInto, notLetGo } from './guest-export.ts';
import { aboutDevice, aboutDomain, type Libvirt, libvirtVersion } from './virsh.ts';

export interface DomainDisk {
  readonly volume: string;
  readonly export: string;
  /** Of the guest's disks, by libvirt's name for it. */
  readonly device: string;
  /** When the service is away for a while the guest's requests wait; else the guest is paused, until it is resumed. */
  readonly reconnects: boolean;
  readonly changed: boolean;
}

export interface DomainDiskOptions {
  readonly domain: string;
  /** Libvirt's URI; absent: as virsh chooses. */
  readonly connect?: string;
  /** In its definition too, so that it is there when the guest is started again. */
  readonly persistent?: boolean;
  readonly dryRun?: boolean;
}

export interface DomainDetachOptions extends DomainDiskOptions {
  readonly timeoutMs?: number;
}

/** Longer than QEMU itself tries to reach an export. */
const attachMs = 40_000;
const detachMs = 30_000;
const lookMs = 500;

type Exports = Pick<ExportService, 'nameOfVolume' | 'clientsOf' | 'get' | 'add' | 'remove'>;

export class DomainDisks {
  readonly #exports: Exports;

  constructor(exports: Exports) {
    this.#exports = exports;
  }

  /**
   * Exports the volume if it is not, and plugs it in.
   *
   * @throws StorageError volume/not-found, export/exists, export/listen, guest/monitor, guest/refused; export/busy somebody else has it
   */
  attach(volume: string, options: DomainDiskOptions & AttachTerms): Promise<DomainDisk> {
    const { persistent = false } = options;
    return withLibvirt(options, attachMs, async (libvirt) => {
      const name = this.#exports.nameOfVolume(volume) ?? volume;
      const disks = await disksOf(libvirt);
      const reconnects = libvirtReconnects(await libvirtVersion(libvirt));
      const there = targetOf(disks, name);
      const device = there ?? freeTarget(disks);
      if (there === undefined) {
        const into = async (info: Parameters<typeof attachOptionsOf>[0]) => {
          const xml = libvirtXml(attachOptionsOf(info), device);
          await aboutDevice(libvirt, 'attach-device', xml, scope(persistent));
        };
        await exportedInto(this.#exports, volume, into, options);
      }
      return { volume, export: name, device, reconnects, changed: there === undefined };
    });
  }

  /**
   * Resolves when the guest has let go; the export stays.
   *
   * @throws StorageError guest/monitor, guest/refused; guest/busy: the guest has not let go in time, and may do so later
   */
  detach(volume: string, options: DomainDetachOptions): Promise<DomainDisk> {
    const { persistent = false, dryRun = false, timeoutMs = detachMs } = options;
    return withLibvirt(options, timeoutMs, async (libvirt) => {
      const name = this.#exports.nameOfVolume(volume) ?? volume;
      const device = targetOf(await disksOf(libvirt), name);
      if (device !== undefined && !dryRun) {
        await letGo(libvirt, name, ['--target', device, ...scope(persistent)]).catch(
          notLetGo(volume),
        );
      }
      const changed = device !== undefined;
      return { volume, export: name, device: device ?? '', reconnects: true, changed };
    });
  }
}

/** By target, the name of what it shows. */
type Disks = ReadonlyMap<string, string>;

async function disksOf(libvirt: Libvirt): Promise<Disks> {
  const listing = await aboutDomain(libvirt, 'domblklist', ['--details']);
  const rows = listing.split('\n').map((line) => line.trim().split(/\s+/));
  return new Map(
    rows.flatMap(([type, , target, source]) =>
      target === undefined ? [] : [[target, type === 'network' ? `${source}` : '']],
    ),
  );
}

function targetOf(disks: Disks, name: string): string | undefined {
  return [...disks].find(([, shown]) => shown === name)?.[0];
}

/** vda to vdz, then vdaa and on. */
function freeTarget(disks: Disks): string {
  const letters = [...'abcdefghijklmnopqrstuvwxyz'];
  const names = ['', ...letters].flatMap((first) => letters.map((last) => `vd${first}${last}`));
  const free = names.find((name) => !disks.has(name));
  if (free !== undefined) return free;
  throw new StorageError('guest/refused', `the guest has ${disks.size} disks already`);
}

function scope(persistent: boolean): string[] {
  return persistent ? ['--live', '--config'] : ['--live'];
}

/** Resolves when the disk is not in the guest any more. */
async function letGo(libvirt: Libvirt, name: string, args: readonly string[]): Promise<void> {
  try {
    await aboutDomain(libvirt, 'detach-disk', args);
  } catch (error) {
    // The guest was asked before and has not answered yet.
    if (!/in the process of unplug/.test(messageOf(error))) throw error;
  }
  while (targetOf(await disksOf(libvirt), name) !== undefined) await sleep(lookMs);
}

/** @throws StorageError guest/monitor libvirt does not answer; what `work` throws */
async function withLibvirt<T>(
  { domain, connect }: DomainDiskOptions,
  timeoutMs: number,
  work: (libvirt: Libvirt) => Promise<T>,
): Promise<T> {
  const limit = new TimeLimit(timeoutMs);
  try {
    return await work({ domain, connect, signal: limit.signal });
  } catch (cause) {
    if (!(cause instanceof TimeOver)) throw cause;
    throw new StorageError('guest/monitor', `libvirt: ${cause.message}`, { cause });
  } finally {
    limit.clear();
  }
}
