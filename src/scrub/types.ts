/**
 * What a scrub takes and tells.
 */
import type { MovementContext } from '../migration/types.ts';
import type { CheckFinding } from '../pool/types.ts';

/** A finding of a check, or bytes of a volume or snapshot that cannot be read. */
export interface ScrubFinding extends CheckFinding {
  /** null: of no volume, or nothing that has a name shows it. */
  readonly volume: string | null;
  /** null: the volume as it is now. */
  readonly snapshot: string | null;
  readonly offsetBytes: number | null;
  readonly lengthBytes: number | null;
}

/** How far a scrub has come: all of the layers before this one, and of it the regions before that one. */
export interface ScrubCursor {
  readonly layer: number;
  readonly region: number;
}

export interface ScrubContext extends MovementContext {
  readonly setPhase: (phase: string) => void;
  /** Of a scrub that was cut off. */
  readonly from: ScrubCursor | undefined;
  /** Where to go on if it is cut off now. */
  readonly remember: (cursor: ScrubCursor) => void;
  readonly tellFindings: (findings: readonly ScrubFinding[]) => void;
}
