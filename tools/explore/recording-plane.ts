/**
 * A data plane whose disks are recorded, so that a power cut at any moment of their past can be looked at.
 *
 * Recorded disks, and what cuts leave of them, have URIs as of an NFS server: so everybody reads them through the data plane, and no byte of
 * them is in a file.
 */
import type { DiskSpec, PoolSpec, StartOptions } from '../../src/dataplane/binding.ts';
import {
  DataPlane,
  DiskPlane,
  type PatientDiskPlane,
  type PoolListener,
  type PoolPlane,
} from '../../src/dataplane/data-plane.ts';

import { LeftDisk, PatientLeftDisk } from './left-disk.ts';

const scheme = 'nfs://';

/** The URI of a recorded disk. */
export function recordedUri(name: string): string {
  return `${scheme}recorded/${name}`;
}

/** Told of a label that is about to be written to the disk; what it returns is called when that has ended. */
export type LabelWatch = (uri: string, label: Uint8Array) => () => void;

class WatchedDisk extends DiskPlane {
  readonly #use: DiskPlane;
  readonly #watch: LabelWatch;

  constructor(use: DiskPlane, uri: string, watch: LabelWatch) {
    super(use.plane, use.handle, use.sizeBytes, uri);
    this.#use = use;
    this.#watch = watch;
  }

  override close(): Promise<void> {
    return this.#use.close();
  }

  override async writeLabel(offset: number, label: Uint8Array, untilMs: number): Promise<void> {
    const end = this.#watch(this.identity, label);
    try {
      await super.writeLabel(offset, label, untilMs);
    } finally {
      end();
    }
  }
}

/** One disk as a power cut left it. */
export interface CutDisk {
  readonly uri: string;
  readonly plane: DiskPlane;
}

/** When power is lost, and what becomes of what was not synced: native/io/write_log.h. */
export interface Cut {
  readonly moment: number;
  /** 0: all of it is kept; 1: nothing. Others at random, on every disk in its own way. */
  readonly seed: number;
}

/** What a power cut left. */
export interface CutState {
  readonly disks: readonly CutDisk[];
  /** The same for equal bytes on all disks, and for no others. */
  readonly digest: string;
  dispose(): Promise<void>;
}

export class RecordingPlane extends DataPlane {
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #recorded = new Map<string, Promise<DiskPlane>>();
  readonly #left = new Map<string, LeftDisk>();
  #cuts = 0;
  #watch: LabelWatch = () => () => {};

  /** @param sizes in bytes, of the recorded disks, by their URIs */
  constructor(sizes: ReadonlyMap<string, number>, options: Partial<StartOptions> = {}) {
    super(options);
    this.#sizes = sizes;
  }

  /** Each use of a recorded disk has a handle of its own, and with it a lease: closing it ends the use, not the disk. */
  override async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const uri = uriOf(spec);
    const left = this.#left.get(uri);
    if (left !== undefined) return left;
    const disk = await this.#recordedDisk(uri);
    if (disk === undefined) return super.openDisk(spec);
    const use = await this.openUse(disk, uri);
    return new WatchedDisk(use, uri, (...of) => this.#watch(...of));
  }

  override async openPatientDisk(inner: DiskPlane, patienceMs: number): Promise<PatientDiskPlane> {
    const patient = await super.openPatientDisk(inner, patienceMs);
    return inner instanceof LeftDisk ? new PatientLeftDisk(this, patient.handle, inner) : patient;
  }

  /** A handle of its own for the recorded disk; closing it leaves the disk open. */
  protected openUse(disk: DiskPlane, _uri: string): Promise<DiskPlane> {
    return super.openDisk({ kind: 'fault', inner: disk.handle });
  }

  /** The pending log means nothing after a power cut: it is kept in memory. */
  override openPool(spec: PoolSpec, listener: PoolListener): Promise<PoolPlane> {
    return super.openPool({ ...spec, pendingLogPath: '' }, listener);
  }

  /** One watch: it sees the labels of recorded disks. */
  watchLabels(watch: LabelWatch): void {
    this.#watch = watch;
  }

  isRecorded(uri: string): boolean {
    return this.#sizes.has(uri);
  }

  /** The present moment, one order for all disks. */
  moment(): number {
    return this.addon.recordingMoment();
  }

  /**
   * What a power cut may have left of the recorded disks that were ever opened. They can be opened by their URIs until they are disposed of.
   */
  async cut({ moment, seed }: Cut): Promise<CutState> {
    const name = ++this.#cuts;
    const disks: CutDisk[] = [];
    let digest = '';
    for (const [recorded, opening] of this.#recorded) {
      const disk = await opening;
      const spec = { cut: moment, seed: seed < 2 ? seed : seed + disks.length };
      const done = await this.call((token) => this.addon.recordingCut(token, disk.handle, spec));
      const uri = recorded.replace('recorded/', `left/${name}/`);
      const plane = new LeftDisk(this, done.value, disk.sizeBytes, uri);
      this.#left.set(uri, plane);
      disks.push({ uri, plane });
      digest += Buffer.from(done.data ?? []).toString('hex');
    }
    return { disks, digest, dispose: () => this.#forget(disks) };
  }

  async dispose(): Promise<void> {
    for (const disk of this.#recorded.values()) await (await disk).close();
    this.#recorded.clear();
  }

  #recordedDisk(uri: string): Promise<DiskPlane> | undefined {
    const sizeBytes = this.#sizes.get(uri);
    if (sizeBytes === undefined) return undefined;
    const known = this.#recorded.get(uri);
    if (known !== undefined) return known;
    const made = super.openDisk({ kind: 'recording', sizeBytes });
    this.#recorded.set(uri, made);
    return made;
  }

  async #forget(disks: readonly CutDisk[]): Promise<void> {
    for (const { uri } of disks) {
      await this.#left.get(uri)?.dispose();
      this.#left.delete(uri);
    }
  }
}

function uriOf({ nfs }: DiskSpec): string {
  return nfs === undefined ? '' : `${scheme}${nfs.host}${nfs.path}`;
}
