/**
 * A data plane whose disks go wrong on demand: every file is opened behind a `fault` disk (native/io/fault_rules.h).
 */
import type { DiskSpec, FaultRule } from '../../src/dataplane/binding.ts';
import { DataPlane, DiskPlane, type PatientDiskPlane } from '../../src/dataplane/data-plane.ts';

class FaultyDisk extends DiskPlane {
  readonly #inner: DiskPlane;
  readonly #onClose: () => void;

  constructor(outer: DiskPlane, inner: DiskPlane, onClose: () => void) {
    super(outer.plane, outer.handle, outer.sizeBytes);
    this.#inner = inner;
    this.#onClose = onClose;
  }

  override async close(): Promise<void> {
    this.#onClose();
    await super.close();
    await this.#inner.close();
  }
}

export class FaultyPlane extends DataPlane {
  readonly #open = new Map<string, DiskPlane>();
  readonly #rules = new Map<string, readonly FaultRule[]>();
  /** Whether who opens a disk waits for it; otherwise what it refuses is told at once, as in a pool without patience. */
  waitsAtOpenings = false;

  override async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const inner = await super.openDisk(spec);
    const { path } = spec;
    if (path === undefined) return inner;
    const outer = await super.openDisk({ kind: 'fault', inner: inner.handle });
    const disk = new FaultyDisk(outer, inner, () => this.#open.delete(path));
    this.#open.set(path, disk);
    this.addon.faultSet(disk.handle, this.#rules.get(path) ?? []);
    return disk;
  }

  override openPatientDisk(inner: DiskPlane, patienceMs: number): Promise<PatientDiskPlane> {
    return super.openPatientDisk(inner, this.waitsAtOpenings ? patienceMs : 0);
  }

  /** Whether some disk may go wrong. */
  get hasFaults(): boolean {
    return [...this.#rules.values()].some((rules) => rules.length > 0);
  }

  /** From now on, also when the disk is opened again; a failed sync is final until then. */
  setFaults(path: string, rules: readonly FaultRule[]): void {
    this.#rules.set(path, rules);
    const disk = this.#open.get(path);
    if (disk !== undefined) this.addon.faultSet(disk.handle, rules);
  }

  healAll(): void {
    for (const path of [...this.#rules.keys()]) this.setFaults(path, []);
  }
}
