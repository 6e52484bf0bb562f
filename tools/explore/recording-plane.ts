/**
 * A data plane whose disks are recorded, so that a power cut at any moment of their past can be looked at.
 *
 * The files that stand for the disks stay empty: they only satisfy whoever looks at paths.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { DiskSpec, StartOptions } from '../../src/dataplane/binding.ts';
import { DataPlane, DiskPlane } from '../../src/dataplane/data-plane.ts';

/** Closing ends a use of the disk, not its record. */
class RecordedDisk extends DiskPlane {
  override async close(): Promise<void> {}

  dispose(): Promise<void> {
    return super.close();
  }
}

export class RecordingPlane extends DataPlane {
  readonly #disks = new Map<string, RecordedDisk>();
  readonly #sizes: ReadonlyMap<string, number>;

  constructor(sizes: ReadonlyMap<string, number>, options: Partial<StartOptions> = {}) {
    super(options);
    this.#sizes = sizes;
  }

  override async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const sizeBytes = spec.path === undefined ? undefined : this.#sizes.get(spec.path);
    if (spec.path === undefined || sizeBytes === undefined) return super.openDisk(spec);
    const known = this.#disks.get(spec.path);
    if (known !== undefined) return known;
    const fresh = await super.openDisk({ kind: 'recording', sizeBytes });
    const disk = new RecordedDisk(this, fresh.handle, sizeBytes);
    this.#disks.set(spec.path, disk);
    return disk;
  }

  isRecorded(path: string): boolean {
    return this.#sizes.has(path);
  }

  /** The present moment, one order for all disks. */
  moment(): number {
    return this.addon.recordingMoment();
  }

  /** Writes what a power cut at `cut` may have left of the disk at `path` to the file `target`; nothing if it was never opened. */
  async cut(path: string, cut: number, seed: number, target: string): Promise<void> {
    const recorded = this.#disks.get(path);
    if (recorded === undefined) return;
    const done = await this.call((token) =>
      this.addon.recordingCut(token, recorded.handle, { cut, seed }),
    );
    const left = new DiskPlane(this, done.value, recorded.sizeBytes);
    const content = await left.read(0, recorded.sizeBytes);
    await left.close();
    const file = openSync(target, 'w');
    writeSync(file, content);
    closeSync(file);
  }

  async dispose(): Promise<void> {
    for (const disk of this.#disks.values()) await disk.dispose();
    this.#disks.clear();
  }
}
