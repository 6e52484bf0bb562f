/**
 * Growth: a backing disk that became larger is used up to its new end; one that was cut off is reported.
 *
 *   measured → labels, both copies, durably → allocator → granted
 *
 * No cluster behind the old end is used before both copies of the label name the new one, so that no copy, whichever is read
 * after a crash, calls a used cluster inexistent. Killed in between, the disk is as large as its label says, and is measured again.
 */
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { formatSize } from '../base/size.ts';
import type { Allocator } from './allocator.ts';
import type { DiskSet, PoolDisk } from './disk-set.ts';
import { clusterCountMax } from './disk-space.ts';
import { clustersOn } from './format/geometry.ts';
import type { Label } from './format/label.ts';
import type { EmitEvent, PoolWarning } from './types.ts';

const lookIntervalMs = 10_000;

export interface GrowthParts {
  readonly disks: DiskSet;
  readonly allocator: Allocator;
  readonly clock: Clock;
  readonly log: Log;
  readonly emit: EmitEvent;
  /** There is more space than before. */
  readonly onSpace: () => void;
}

export class Growth {
  readonly #parts: GrowthParts;
  readonly #stopLooking: () => void;
  /** Disks that are smaller than their labels say, and how small. */
  readonly #cutOff = new Map<PoolDisk, number>();
  #looking: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: GrowthParts) {
    this.#parts = parts;
    this.#stopLooking = parts.clock.every(lookIntervalMs, () => void this.look());
  }

  get warnings(): readonly PoolWarning[] {
    return [...this.#cutOff].map(([disk, bytes]) => ({
      level: 'critical',
      code: 'disk/cut-off',
      message: cutOffText(disk, bytes),
      actions: ['restore what was cut off from a backup: what lay behind the end is gone'],
    }));
  }

  /** Measures every disk that is online. Resolves when what has grown is in use. */
  look(): Promise<void> {
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Measures nothing more, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopLooking();
    this.#stopped = true;
    await this.#looking;
  }

  async #lookAtAll(): Promise<void> {
    for (const disk of this.#parts.disks.all) {
      if (this.#stopped) return;
      if (disk.plane.condition.state !== 'online') continue;
      try {
        await this.#lookAt(disk);
      } catch (error) {
        const { uri } = disk.location;
        this.#parts.log.warn({ disk: uri, error }, `disk ${uri}: ${messageOf(error)}`);
      }
    }
  }

  async #lookAt(disk: PoolDisk): Promise<void> {
    const bytes = await disk.plane.measure();
    if (bytes < disk.label.diskBytes) return this.#tellCutOff(disk, bytes);
    this.#cutOff.delete(disk);
    const change = grownBy(disk.label, bytes);
    if (change !== undefined && !this.#stopped) await this.#use(disk, change);
  }

  async #use(disk: PoolDisk, change: Grown): Promise<void> {
    const { disks, allocator, emit, onSpace } = this.#parts;
    const before = disk.label.diskBytes;
    await writeGrown(disks, disk, change);
    allocator.growDisk(disk.label.diskNumber, change.clusterCount);
    onSpace();
    const sizes = `from ${formatSize(before)} to ${formatSize(change.diskBytes)}`;
    const message = `disk ${disk.location.uri} has grown ${sizes}; all of it is used`;
    emit({ kind: 'disk/grown', level: 'info', subject: disk.label.poolName, message });
  }

  #tellCutOff(disk: PoolDisk, bytes: number): void {
    const known = this.#cutOff.has(disk);
    this.#cutOff.set(disk, bytes);
    if (known) return;
    const message = cutOffText(disk, bytes);
    const subject = disk.label.poolName;
    this.#parts.emit({ kind: 'disk/cut-off', level: 'error', subject, message });
  }
}

type Grown = Pick<Label, 'diskBytes' | 'clusterCount'>;

/** What the label of a disk says that has so many bytes now; undefined unless there are more clusters than before. */
export function grownBy(label: Label, diskBytes: number): Grown | undefined {
  const clusterCount = Math.min(clustersOn(diskBytes, label.clusterBytes), clusterCountMax);
  if (clusterCount <= label.clusterCount) return undefined;
  // A whole number of clusters when the disk is larger than can be addressed: the two fields belong together.
  const bytesMax = (clusterCount + 1) * label.clusterBytes - 1;
  return { clusterCount, diskBytes: Math.min(diskBytes, bytesMax) };
}

/** Both copies of the label name the new end when it resolves. @throws StorageError disk/io, pool/held */
export async function writeGrown(disks: DiskSet, disk: PoolDisk, change: Grown): Promise<void> {
  await disks.writeLabels(() => change, [disk]);
  await disks.writeLabels(() => change, [disk]);
}

function cutOffText({ location, label }: PoolDisk, bytes: number): string {
  return `disk ${location.uri} was cut off: it has ${bytes} bytes, its label says ${label.diskBytes}; what lay behind cannot be read`;
}
