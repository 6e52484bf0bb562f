/**
 * What a life has promised, by moments of its recorded disks: names that come and go, and what they show.
 */
import type { VolumeModel } from './durability-model.ts';
import type { Content } from './sectors.ts';

export const never = Number.POSITIVE_INFINITY;

/** A name in time: between `begun` and `ended` of a change a cut may show either. */
export interface Lasting {
  readonly createBegun: number;
  created: number;
  deleteBegun: number;
  deleted: number;
}

export interface VolumeLife extends Lasting {
  readonly name: string;
  readonly model: VolumeModel;
}

export interface SnapshotLife extends Lasting {
  readonly volume: string;
  readonly name: string;
  /** What it shows as long as it is there. */
  readonly image: readonly Content[];
  /** Taken together with the others of that group: all of them, or none. */
  readonly group?: string;
}

/** Everything that may be asked about after a cut. */
export interface Promised {
  readonly lives: readonly VolumeLife[];
  readonly snapshotLives: readonly SnapshotLife[];
}

/** A name whose creation begins now. */
export function beginning(moment: number): Lasting {
  return { createBegun: moment, created: never, deleteBegun: never, deleted: never };
}

/** What a name that is there, or is not, breaks at a cut; undefined: nothing. */
export function presenceViolation(
  { createBegun, created, deleteBegun, deleted }: Lasting,
  isThere: boolean,
  cut: number,
): string | undefined {
  if (!isThere) return created > cut || deleteBegun <= cut ? undefined : 'is gone';
  if (createBegun > cut) return 'was not made yet';
  return deleted <= cut ? 'was deleted' : undefined;
}
