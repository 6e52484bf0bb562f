/**
 * Recorded disks that also go wrong on demand. What a judge opens of a cut has no faults.
 */
import type { DiskSpec, FaultRule } from '../../src/dataplane/binding.ts';
import type { DiskPlane } from '../../src/dataplane/data-plane.ts';
import { RecordingPlane } from '../../tools/explore/recording-plane.ts';

export class FaultyRecordingPlane extends RecordingPlane {
  readonly #opened = new Map<string, DiskPlane>();

  override async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const disk = await super.openDisk(spec);
    if (this.isRecorded(disk.identity)) this.#opened.set(disk.identity, disk);
    return disk;
  }

  /** Of what was opened last of the disk. */
  setFaults(uri: string, rules: readonly FaultRule[]): void {
    const disk = this.#opened.get(uri);
    if (disk !== undefined) this.addon.faultSet(disk.handle, rules);
  }
}
