/**
 * Sample structures, and how to hurt them. A fixture's overrides name what the test is about.
 */
import { FormatError } from '../../../src/pool/format/format-error.ts';
import type { Label } from '../../../src/pool/format/label.ts';

export const poolUuid = '0f8fad5b-d9cb-469f-a165-70867728950e';
export const otherUuid = '7c9e6679-7425-40de-944b-e07fc1f90ae7';

export function sampleLabel(overrides: Partial<Label> = {}): Label {
  return {
    generation: 7,
    featuresCompatible: 5n,
    featuresReadOnly: 0n,
    featuresRefused: 0n,
    poolUuid,
    diskUuid: otherUuid,
    diskNumber: 2,
    diskCount: 3,
    clusterBytes: 65536,
    clusterCount: 4096,
    firstCluster: 17,
    diskBytes: 4096 * 65536,
    journalOffset: 65536,
    journalBytes: 1024 * 1024,
    tailPosition: 81920,
    tailSequence: 12,
    checkpoint: {
      firstCluster: 20,
      clusterCount: 2,
      payloadBytes: 70000,
      sequence: 11,
      hash: 0xfedcba9876543210n,
    },
    epoch: 4,
    owner: poolUuid,
    heartbeatMs: 1_700_000_000_000,
    poolName: 'main',
    membership: null,
    lostRings: null,
    ...overrides,
  };
}

/** The code with which `decode` refuses, or undefined when it accepts. Any other error passes through. */
export function refusal(decode: () => unknown): string | undefined {
  try {
    decode();
    return undefined;
  } catch (error) {
    if (error instanceof FormatError) return error.code;
    throw error;
  }
}

/** A copy with one bit turned over. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice();
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}
