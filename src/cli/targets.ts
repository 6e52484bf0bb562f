/**
 * VOLUME and VOLUME@SNAPSHOT: a verb of one refuses the other, so that a half-typed line cannot destroy the wrong thing.
 */
import { usageError } from './errors.ts';

export interface SnapshotTarget {
  readonly text: string;
  readonly volume: string;
  readonly snapshot: string;
}

/** @throws CommandError usage, naming the form */
export function snapshotTarget(text: string): SnapshotTarget {
  const [volume = '', snapshot = '', ...more] = text.split('@');
  if (volume !== '' && snapshot !== '' && more.length === 0) return { text, volume, snapshot };
  throw usageError(`"${text}" names no snapshot`, ['write it as VOLUME@SNAPSHOT']);
}

/** @throws CommandError usage, when it names a snapshot */
export function volumeTarget(text: string): string {
  if (!text.includes('@')) return text;
  throw usageError(`"${text}" names a snapshot, not a volume`, [
    'leave out what is behind the @, or use a snapshot verb',
  ]);
}
