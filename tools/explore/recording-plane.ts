/**
 * A data plane whose disks are recorded, so that a power cut at any moment of their past can be looked at.
 *
 * Recorded disks, and what cuts leave of them, have URIs as of an NFS server: so everybody reads them through the data plane, and no byte of
 * them is in a file.
 */

import { KiB } from '../../src/base/units.ts';
import type { DiskSpec, Handle, PoolSpec, StartOptions } from '../../src/dataplane/binding.ts';
import {
  DataPlane,
  DiskPlane,
  type PatientDiskPlane,
  type PoolListener,
  type PoolPlane,
} from '../../src/dataplane/data-plane.ts';
import { labelAreaBytes } from '../../src/pool/format/geometry.ts';
import type { ControlReads } from './control-reads.ts';
import { LeftDisk, PatientLeftDisk } from './left-disk.ts';
import { stampedWithOrigins } from './origins.ts';
import { sectorBytes } from './sectors.ts';

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
  readonly plane: LeftDisk;
}

/** When power is lost, and what becomes of what was not synced: native/io/write_log.h. */
export interface Cut {
  readonly moment: number;
  /** 0: all of it is kept; 1: nothing. Others at random, on every disk in its own way; see `cutSeedOf`. */
  readonly seed: number;
}

/** Labels and ring of a small disk. */
export const headBytes = labelAreaBytes + 256 * KiB;
const seedsOfRest = 2 ** 30;

/** The seed of a cut that chooses by one seed what becomes of labels and ring, by another of the rest; both may be 0 or 1 as well. */
export function cutSeedOf(head: number, rest: number): number {
  return (head + 1) * seedsOfRest + rest;
}

/** They can be opened by their URIs until they are disposed of. */
export interface LeftDisks {
  readonly disks: readonly CutDisk[];
  dispose(): void;
}

/** What a power cut left. */
export interface CutState extends LeftDisks {
  /** The same for equal bytes on all disks, and for no others. */
  readonly digest: string;
}

export class RecordingPlane extends DataPlane {
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #recorded = new Map<string, Promise<DiskPlane>>();
  readonly #left = new Map<string, LeftDisk>();
  /** By their place among the recorded ones: disks on which each sector says where it lies. */
  readonly #stamped = new Map<number, Promise<DiskPlane>>();
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
    return inner instanceof LeftDisk
      ? new PatientLeftDisk(this, patient.handle, inner, patienceMs)
      : patient;
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

  /** What a power cut may have left of the recorded disks that were ever opened. */
  async cut({ moment, seed }: Cut): Promise<CutState> {
    const name = ++this.#cuts;
    const disks: CutDisk[] = [];
    const digests: bigint[] = [];
    for (const [recorded, opening] of this.#recorded) {
      const { handle, sizeBytes } = await opening;
      const [head, rest] = seedsOf(seed, disks.length);
      const headEnd = head === undefined ? 0 : headBytes;
      const left = this.addon.recordingCut(handle, moment, rest, headEnd, head ?? 0);
      const uri = recorded.replace('recorded/', `left/${name}/`);
      disks.push(this.#add(left.disk, { sizeBytes, uri }));
      digests.push(left.digest);
    }
    return { disks, digest: digests.join(' '), dispose: () => this.#forget(disks) };
  }

  /** The same disks, but that each sector that is not among those that were `read` says where it lies (origins.ts). */
  async twinOf(
    { disks }: Pick<CutState, 'disks'>,
    read: readonly ControlReads[],
  ): Promise<LeftDisks> {
    const name = ++this.#cuts;
    const twins: CutDisk[] = [];
    for (const [at, { plane, uri }] of disks.entries()) {
      const { sizeBytes } = plane;
      const ranges = Float64Array.from(read[at]?.ranges() ?? []);
      const stamped = await this.#stampedDisk(at, sizeBytes);
      const handle = this.addon.memoryLaidOver(plane.handle, stamped.handle, ranges);
      twins.push(this.#add(handle, { sizeBytes, uri: uri.replace('left/', `twin/${name}/`) }));
    }
    return { disks: twins, dispose: () => this.#forget(twins) };
  }

  /** The same for equal bytes in these ranges of the disks: place of the disk, offset, bytes, … */
  digestOf({ disks }: LeftDisks, ranges: Float64Array): bigint {
    return this.addon.memoryDigest(handlesOf(disks), ranges);
  }

  /** Which sectors of an image whose runs (origins.ts) lie on these disks are not as expected, and what they show. */
  *differing(
    { disks }: LeftDisks,
    runs: Uint32Array,
    expected: Uint8Array,
  ): Generator<readonly [sector: number, bytes: Uint8Array]> {
    const found = this.addon.memoryDiffering(handlesOf(disks), runs, expected);
    if (found === null) return;
    for (const [at, sector] of found.sectors.entries()) {
      yield [sector, found.bytes.subarray(at * sectorBytes, (at + 1) * sectorBytes)];
    }
  }

  async dispose(): Promise<void> {
    for (const disks of [this.#recorded, this.#stamped]) {
      for (const disk of disks.values()) await (await disk).close();
      disks.clear();
    }
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

  #stampedDisk(place: number, sizeBytes: number): Promise<DiskPlane> {
    const known = this.#stamped.get(place);
    if (known !== undefined) return known;
    const made = this.#makeStamped(place, sizeBytes);
    this.#stamped.set(place, made);
    return made;
  }

  async #makeStamped(place: number, sizeBytes: number): Promise<DiskPlane> {
    const disk = await super.openDisk({ kind: 'memory', sizeBytes });
    this.addon.memoryWrite(disk.handle, 0, stampedWithOrigins(place, sizeBytes));
    return disk;
  }

  #add(handle: Handle, disk: { readonly sizeBytes: number; readonly uri: string }): CutDisk {
    const plane = new LeftDisk(this, handle, disk);
    this.#left.set(disk.uri, plane);
    return { uri: disk.uri, plane };
  }

  #forget(disks: readonly CutDisk[]): void {
    for (const { uri, plane } of disks) {
      plane.dispose();
      this.#left.delete(uri);
    }
  }
}

/** Each disk's way is its own, unless all is kept, or nothing. */
function seedsOf(seed: number, place: number): readonly [head: number | undefined, rest: number] {
  const ofDisk = (shared: number) => (shared < 2 ? shared : shared + place);
  const head = Math.floor(seed / seedsOfRest) - 1;
  return [head < 0 ? undefined : ofDisk(head), ofDisk(seed % seedsOfRest)];
}

function handlesOf(disks: readonly CutDisk[]): Uint32Array {
  return Uint32Array.from(disks, ({ plane }) => plane.handle);
}

function uriOf({ nfs }: DiskSpec): string {
  return nfs === undefined ? '' : `${scheme}${nfs.host}${nfs.path}`;
}
