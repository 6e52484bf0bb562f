/**
 * In which ways a moment is cut: seeds in groups, each of which is left when it brings nothing new.
 *
 * Everything kept, and nothing un-synced; everything chosen at once; and a few ways in which labels and rings may have been left, each
 * with many ways of the rest: these share a recovery.
 */
import type { Random } from './random.ts';
import { cutSeedOf } from './recording-plane.ts';

const wholesPerMoment = 2;
const headsPerMoment = 2;

/** @param restsPerHead so many ways of the rest for each of labels and rings */
export function seedGroups(random: Random, restsPerHead: number): number[][] {
  const any = () => 2 + random.below(1 << 28);
  const some = (count: number, seed: () => number) => Array.from({ length: count }, seed);
  const heads = some(headsPerMoment, () => random.below(1 << 20));
  return [
    [0, 1].filter(() => random.chance(2)),
    some(wholesPerMoment, any),
    ...heads.map((head) => some(restsPerHead, () => cutSeedOf(head, any()))),
  ];
}
