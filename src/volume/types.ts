/**
 * What the volume layer tells and takes.
 */
import type { VolumePlacement } from './placement.ts';

/** As stored in the pool's index under `R volume/<id>`. Ids are never reused. */
export interface VolumeRecord {
  readonly id: number;
  /** Who it is, of a volume that came from another pool; absent: it follows from pool and id (identity.ts). */
  readonly uuid?: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly headLayer: number;
  readonly snapshotMode: 'row' | 'cow';
  readonly thick: boolean;
  readonly createdAt: string;
  /** Where what is written to it is to lie; absent: anywhere. */
  readonly placement?: VolumePlacement;
  /** The snapshot that it is a linked clone of. */
  readonly clonedFrom?: number;
  /** URI of the disk that it was made of, whether or not it still reads from it. */
  readonly adoptedFrom?: string;
  /** It is on its way here as a backup stream, and nobody else's until it is whole. */
  readonly receiving?: Receiving;
  /** Not listed, and gone when its export ends or the service stops: what a scratch export writes to. */
  readonly scratch?: true;
}

/** How far a volume has been received: told with what is durable. */
export interface Receiving {
  /** Which stream. */
  readonly stream: string;
  /** What lies before it is here. */
  readonly toBytes: number;
}

export interface VolumeInfo {
  /** Of the pool's volumes. */
  readonly id: number;
  /** Who it is, whatever its name and wherever its data. */
  readonly uuid: string;
  readonly name: string;
  readonly pool: string;
  readonly sizeBytes: number;
  /** Clusters of its head: what is surely freed if it were deleted. */
  readonly exclusiveBytes: number;
  /** Held by the layers that its head reads through to. */
  readonly sharedBytes: number;
  /** The snapshot it was cloned from, as VOLUME@SNAPSHOT, while it reads through it; null for others. */
  readonly origin: string | null;
  /** It reads through to other layers: it has snapshots, or is a clone. */
  readonly hasParent: boolean;
  /** The disk that it was adopted from, and still reads from; null for others. */
  readonly adoptedFrom: string | null;
  readonly snapshotMode: 'row' | 'cow';
  readonly thick: boolean;
  /** Of the disks that its data is to lie on; null: any. */
  readonly class: string | null;
  readonly createdAt: string;
}

export interface CreateVolumeOptions {
  readonly name: string;
  readonly sizeBytes: number;
  /** Defaults to the only pool. */
  readonly pool?: string;
  readonly snapshotMode?: 'row' | 'cow';
  readonly thick?: boolean;
  /** Of the disks that its data is to lie on. */
  readonly class?: string;
  /** Its content is to be received. */
  readonly receiving?: Receiving;
  readonly dryRun?: boolean;
}

export interface AdoptOptions {
  /** URI of the disk or image. */
  readonly source: string;
  readonly name: string;
  /** Defaults to the only pool. */
  readonly pool?: string;
  readonly dryRun?: boolean;
}

export interface DeleteVolumeOptions {
  /** Its snapshots and bookmarks go too. */
  readonly withSnapshots?: boolean;
  /** Clones that read through its snapshots keep their data until the last of them is gone. */
  readonly keepClones?: boolean;
  readonly dryRun?: boolean;
}

export interface VolumeMapExtent {
  readonly offset: number;
  readonly length: number;
  readonly hole: boolean;
  readonly zero: boolean;
}
