/**
 * In which ways a moment is cut: seeds in groups, each of which is left when it brings nothing new.
 *
 * One that chooses for everything at once, in one of five cases an extreme: everything kept, or nothing un-synced. In long explorations also a
 * few ways in which labels and rings may have been left, each with many ways of the rest: these share a recovery.
 */
import type { Random } from './random.ts';
import { cutSeedOf } from './recording-plane.ts';

const headsPerMoment = 2;

/** @param restsPerHead so many ways of the rest for each of labels and rings; 0: none of these */
export function seedGroups(random: Random, restsPerHead: number): number[][] {
  const any = () => 2 + random.below(1 << 28);
  const whole = random.chance(5) ? random.below(2) : any();
  const heads = restsPerHead === 0 ? 0 : headsPerMoment;
  return [[whole], ...some(heads, () => restsOf(random.below(1 << 20)))];

  function restsOf(head: number): number[] {
    return some(restsPerHead, () => cutSeedOf(head, any()));
  }
}

function some<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}
