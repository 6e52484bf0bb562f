/**
 * The native data plane without threads and without a clock, on recorded disks whose every operation waits for a simulation: on its way
 * to the disk, and on its way back.
 *
 *   control plane ◀─events── data plane (two loops) ◀─▶ gate ◀─▶ faults ◀─▶ recorded disk
 */
import type { Handle } from '../../src/dataplane/binding.ts';
import { DiskPlane } from '../../src/dataplane/data-plane.ts';
import { RecordingPlane } from '../explore/recording-plane.ts';
import type { DiskFault } from './faults.ts';

class GatedDisk extends DiskPlane {
  readonly #faulty: DiskPlane;
  readonly #onClose: () => void;

  constructor(gated: DiskPlane, faulty: DiskPlane, onClose: () => void) {
    super(gated.plane, gated.handle, gated.sizeBytes);
    this.#faulty = faulty;
    this.#onClose = onClose;
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#faulty.close();
    this.#onClose();
  }
}

interface GatedUse {
  readonly uri: string;
  readonly faulty: Handle;
}

export class SimulatedPlane extends RecordingPlane {
  /** By the handles of gated disks. */
  readonly #uses = new Map<Handle, GatedUse>();

  /** @param sizes as of RecordingPlane */
  constructor(sizes: ReadonlyMap<string, number>) {
    super(sizes, { backend: 'simulated', loops: 2 });
  }

  protected override async openUse(disk: DiskPlane, uri: string): Promise<DiskPlane> {
    const faulty = await super.openUse(disk, uri);
    const gated = await super.openDisk({ kind: 'gated', inner: faulty.handle });
    this.#uses.set(gated.handle, { uri, faulty: faulty.handle });
    return new GatedDisk(gated, faulty, () => this.#uses.delete(gated.handle));
  }

  uriOf(gated: Handle): string {
    return this.#uses.get(gated)?.uri ?? 'closed';
  }

  /** The operation goes on, and meets the fault on its way to the disk. */
  letGo(operation: { readonly id: number; readonly disk: Handle }, fault?: DiskFault): void {
    const use = this.#uses.get(operation.disk);
    if (fault === undefined || use === undefined) {
      return this.addon.simulationLetGo(operation.id);
    }
    this.addon.faultSet(use.faulty, [{ op: 'any', times: 1, ...fault }]);
    this.addon.simulationLetGo(operation.id);
    this.addon.faultSet(use.faulty, []);
  }
}
