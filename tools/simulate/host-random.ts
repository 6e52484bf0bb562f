/**
 * The randomness of this process, taken over: ids are made from a seed, so that the bytes on the disks are the seed's too.
 */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import type { Random } from '../explore/random.ts';

const realUuid = crypto.randomUUID;

function hex(random: Random, digits: number): string {
  return Array.from({ length: digits }, () => random.below(16).toString(16)).join('');
}

export function takeOverRandomness(random: Random): void {
  const lengths = [8, 4, 4, 4, 12];
  Object.assign(crypto, {
    randomUUID: () => lengths.map((digits) => hex(random, digits)).join('-'),
  });
  syncBuiltinESMExports();
}

export function giveBackRandomness(): void {
  Object.assign(crypto, { randomUUID: realUuid });
  syncBuiltinESMExports();
}
