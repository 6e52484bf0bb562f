/**
 * What may go wrong with a disk, and what an operation that meets it may answer.
 *
 *   refused   the disk says no from the n-th such call on, and the pool has no patience: done, or told
 *   passing   it is over before anybody's patience is: done, as if nothing had been
 *   flipped   the n-th read is not what was written: done, or told
 */
import type { FaultRule } from '../../src/dataplane/binding.ts';

const ENODEV = 19;
const ENOSPC = 28;

export interface FaultKind {
  readonly name: string;
  readonly rules: (after: number) => readonly FaultRule[];
  /** The pool waits for the disk, which is well again as soon as an event says that it is not. */
  readonly waitedFor?: boolean;
  /** Nobody may notice. */
  readonly isHarmless?: boolean;
  /** Content that the operation copies may be copied as it was read. */
  readonly flips?: boolean;
  /** Takes longer than `npm test` has. */
  readonly isLong?: boolean;
}

const one = (rule: FaultRule) => (after: number) => [{ ...rule, after }];
const gone = (after: number, ...ops: FaultRule['op'][]) =>
  ops.map((op) => ({ op, kind: 'error', error: ENODEV, after }) as const);

export const faultKinds: readonly FaultKind[] = [
  { name: 'EIO on read', rules: one({ op: 'read', kind: 'error' }) },
  { name: 'EIO on write', rules: one({ op: 'write', kind: 'error' }) },
  { name: 'EIO on sync', rules: one({ op: 'sync', kind: 'error' }) },
  { name: 'ENOSPC on write', rules: one({ op: 'write', kind: 'error', error: ENOSPC }) },
  { name: 'a short read', rules: one({ op: 'read', kind: 'short' }) },
  { name: 'a short write', rules: one({ op: 'write', kind: 'short' }) },
  { name: 'gone for good', rules: (after) => gone(after, 'any') },
  {
    name: 'slow',
    rules: one({ op: 'any', kind: 'delay', delayMs: 2 }),
    isHarmless: true,
  },
  {
    name: 'silent for a while',
    rules: one({ op: 'any', kind: 'delay', delayMs: 300, times: 2 }),
    isHarmless: true,
  },
  {
    name: 'gone and back',
    rules: (after) => gone(after, 'read', 'write', 'zero'),
    waitedFor: true,
    isHarmless: true,
  },
  { name: 'gone and back, during a sync', rules: (after) => gone(after, 'any'), waitedFor: true },
  {
    name: 'hangs until it is noticed',
    rules: one({ op: 'any', kind: 'hang' }),
    waitedFor: true,
    isHarmless: true,
    isLong: true,
  },
  { name: 'a bit flips', rules: one({ op: 'read', kind: 'flip', times: 1 }), flips: true },
];
