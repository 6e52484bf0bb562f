/**
 * What salvage tells: which volumes there are, what could not be had of them, and why.
 */
import type { CheckFinding } from '../types.ts';

/** Why bytes of a volume are not in what was salvaged. */
export type LossReason =
  /** The disk that they are on was not given. */
  | 'disk-missing'
  /** A disk was given whose label cannot be read, so that nobody knows which one it is. */
  | 'label-bad'
  /** The disk is an old copy: the pool was in use without it. */
  | 'disk-stale'
  /** The disk ends before them. */
  | 'disk-cut-off'
  /** The operating system cannot read them. */
  | 'unreadable'
  /** They are not what was sealed there: bits have turned over. */
  | 'content-damaged'
  /** The adopted disk that they are on is not there, or is not what was adopted. */
  | 'adopted-disk'
  /** The part of the checkpoint that says where they are is in no replica. */
  | 'map-lost'
  /** What says where they are makes no sense. */
  | 'leaf-damaged'
  /** They point outside of what a disk may be used for. */
  | 'address-invalid'
  /** The record of a layer that they may come from is lost. */
  | 'layer-lost'
  /** Where they were, records behind the lost ones have put something else. */
  | 'overwritten';

/** A range of a volume. */
export interface MissingRange {
  readonly offset: number;
  readonly length: number;
  readonly reason: LossReason;
  /** Which disk, say. */
  readonly detail: string;
}

/** Changes that were made after the state that is shown: nobody knows of what. */
export interface LostChanges {
  /** Sequences of journal records; null: whatever came behind. */
  readonly first: number;
  readonly last: number | null;
  readonly message: string;
}

/** Something that has a name and can be copied out. */
export interface SalvageTarget {
  /** VOLUME or VOLUME@SNAPSHOT. */
  readonly name: string;
  readonly volume: string;
  /** null: the volume as it is. */
  readonly snapshot: string | null;
  readonly sizeBytes: number;
  readonly layer: number;
}

export interface SalvageOverview {
  readonly pool: string;
  readonly targets: readonly SalvageTarget[];
  readonly findings: readonly CheckFinding[];
  readonly lostChanges: readonly LostChanges[];
}

export interface Salvaged {
  /** Bytes of data; the rest is zeroes or missing. */
  readonly copiedBytes: number;
  /** Ascending. */
  readonly missing: readonly MissingRange[];
}
