/**
 * Which operation of a disk goes wrong in a simulated life, and how: chosen by the seed, at any await of the life.
 *
 *   none      nothing does
 *   passing   now and then an operation fails or hangs, for less than the pools' patience: no guest may notice. A command may be told so of
 *             a disk that it has just opened: patience begins when a disk serves
 *   final     the k-th operation fails, syncs and labels too, and perhaps the next ones of its disk: what is told may be an error,
 *             what was promised before is kept
 */
import { StorageError } from '../../src/base/errors.ts';
import type { GatedOperation } from '../../src/dataplane/binding.ts';
import { DataPlaneError } from '../../src/dataplane/data-plane.ts';
import { labelAreaBytes } from '../../src/pool/format/geometry.ts';
import type { Random } from '../explore/random.ts';

export interface DiskFault {
  readonly kind: 'error' | 'short';
  /** errno */
  readonly error: number;
}

/** It stays on its way for so long. */
export interface Hang {
  readonly kind: 'hang';
  readonly forMs: number;
}

export type FaultKind = 'none' | 'passing' | 'final';

const EIO = 5;
const ENOSPC = 28;
/** Of operations of a life; later ones are met by no final fault. */
const operationsMax = 600;
const hangMsMax = 5_000;

export class Faults {
  readonly kind: FaultKind;
  /** As of FaultKind: long enough for what passes. */
  readonly patienceSeconds: number;
  /** How many operations went wrong. */
  met = 0;
  /** Faults are injected while this is true. */
  active = true;
  readonly #random: Random;
  /** Passing: one in so many. Final: the operation that fails first. */
  readonly #rate: number;
  /** Final: how many more, of the same disk. */
  #left: number;
  #seen = 0;
  #disk: string | undefined;

  constructor(random: Random) {
    this.#random = random;
    this.kind = random.pick(['none', 'passing', 'passing', 'final', 'final']) as FaultKind;
    this.patienceSeconds = this.kind === 'passing' || random.chance(2) ? 60 : 0;
    this.#rate = this.kind === 'final' ? random.below(operationsMax) : 10 + random.below(150);
    this.#left = random.pick([1, 1, 3, 60]) as number;
  }

  /** @param disk the URI of what the operation is on its way to */
  meet(operation: GatedOperation, disk: string): DiskFault | Hang | undefined {
    if (!this.active || this.kind === 'none') return undefined;
    const fault = this.kind === 'passing' ? this.#passing(operation) : this.#final(operation, disk);
    if (fault !== undefined) this.met += 1;
    return fault;
  }

  /** Whether somebody may be told that error. */
  allow(error: unknown): boolean {
    if (this.met === 0) return false;
    if (this.kind === 'passing')
      return error instanceof StorageError && error.code.startsWith('disk/');
    return error instanceof StorageError || error instanceof DataPlaneError;
  }

  #passing(operation: GatedOperation): DiskFault | Hang | undefined {
    if (!this.#random.chance(this.#rate)) return undefined;
    const isFinal = operation.op === 'sync' || operation.offset < labelAreaBytes;
    if (isFinal || this.#random.chance(2)) {
      return { kind: 'hang', forMs: 1 + this.#random.below(hangMsMax) };
    }
    return this.#error(operation);
  }

  #final(operation: GatedOperation, disk: string): DiskFault | undefined {
    this.#seen += 1;
    if (this.#seen < this.#rate || this.#left === 0) return undefined;
    this.#disk ??= disk;
    if (this.#disk !== disk) return undefined;
    this.#left -= 1;
    return this.#error(operation);
  }

  #error({ op }: GatedOperation): DiskFault {
    const takesSpace = op === 'write' || op === 'zero';
    const error = takesSpace && this.#random.chance(3) ? ENOSPC : EIO;
    const isTransfer = op === 'read' || op === 'write';
    return { kind: isTransfer && this.#random.chance(4) ? 'short' : 'error', error };
  }
}
