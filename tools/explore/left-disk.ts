/**
 * A memory disk that a power cut left, read and written by the control plane at once: openings do that hundreds of times, and each way to a loop of
 * the data plane and back takes longer than what is done there. The data plane itself uses the disk as any other.
 *
 * What the control plane reads of it is noted (control-reads.ts).
 */
import { type DataPlane, DiskPlane, PatientDiskPlane } from '../../src/dataplane/data-plane.ts';
import { ControlReads } from './control-reads.ts';

export class LeftDisk extends DiskPlane {
  #reads: ControlReads | undefined;

  constructor(
    plane: DataPlane,
    handle: number,
    disk: { readonly sizeBytes: number; readonly uri: string },
  ) {
    super(plane, handle, disk.sizeBytes, disk.uri);
  }

  get reads(): ControlReads {
    this.#reads ??= new ControlReads(this.sizeBytes);
    return this.#reads;
  }

  override async read(offset: number, length: number): Promise<Uint8Array> {
    this.reads.noteRead(offset, length);
    return this.peek(offset, length);
  }

  /** For whoever decides nothing by it, or notes it otherwise. */
  peek(offset: number, length: number): Uint8Array {
    return this.plane.addon.memoryRead(this.handle, offset, length);
  }

  override async write(offset: number, data: Uint8Array): Promise<void> {
    this.reads.noteWrite(offset, data.length);
    this.plane.addon.memoryWrite(this.handle, offset, data);
  }

  override async writeLabel(offset: number, label: Uint8Array): Promise<void> {
    await this.write(offset, label);
  }

  /** Power stays on. */
  override async sync(): Promise<void> {}

  override async discard(runs: readonly number[]): Promise<void> {
    for (let at = 0; at + 1 < runs.length; at += 2) {
      await this.zero(runs[at] as number, runs[at + 1] as number);
    }
  }

  override async zero(offset: number, length: number): Promise<void> {
    await this.write(offset, new Uint8Array(length));
  }

  override async measure(): Promise<number> {
    return this.sizeBytes;
  }

  /** That ends a use of it, not the disk. */
  override async close(): Promise<void> {}

  dispose(): void {
    this.plane.addon.memoryClose(this.handle);
  }
}

/** Has no faults to wait out, but is one to the data plane. */
export class PatientLeftDisk extends PatientDiskPlane {
  override read(offset: number, length: number): Promise<Uint8Array> {
    return this.inner.read(offset, length);
  }

  override write(offset: number, data: Uint8Array): Promise<void> {
    return this.inner.write(offset, data);
  }

  override sync(): Promise<void> {
    return this.inner.sync();
  }

  override discard(runs: readonly number[]): Promise<void> {
    return this.inner.discard(runs);
  }

  override zero(offset: number, length: number): Promise<void> {
    return this.inner.zero(offset, length);
  }

  override measure(): Promise<number> {
    return this.inner.measure();
  }
}
