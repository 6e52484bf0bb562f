// Goal: a map of an adopted disk that claims every byte of it once, nothing behind its end, and nothing of its holes.
// Method: sizes around every border and random runs of data; what the operations say, against the bytes themselves.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BatchOp } from '../../src/pool/format/batch.ts';
import { slotCluster, slotDisk, slotMask } from '../../src/pool/format/slot.ts';
import { adoptionOps, clustersWith, restOf } from '../../src/volume/adoption-plan.ts';

const number = 254;
const restAt = { disk: 1, cluster: 77 };

/** Sub-blocks that the patches claim: which disk has them, and the byte there that each begins at. */
function claims(ops: readonly BatchOp[], clusterBytes: number): Map<number, string> {
  const subBlockBytes = clusterBytes / 16;
  const claimed = new Map<number, string>();
  for (const op of ops) {
    if (op.op !== 'patch') continue;
    for (const { slot, hi, lo } of op.entries) {
      for (let bit = 0; bit < 16; bit++) {
        if ((slotMask(lo) & (1 << bit)) === 0) continue;
        const offset = (op.leaf * 64 + slot) * clusterBytes + bit * subBlockBytes;
        if (claimed.has(offset)) throw new Error(`the sub-block at ${offset} is claimed twice`);
        const at = slotCluster(hi, lo) * clusterBytes + bit * subBlockBytes;
        claimed.set(offset, slotDisk(hi) === number ? `foreign ${at}` : `own ${bit}`);
      }
    }
  }
  return claimed;
}

/** Clusters acquired, and how many the layer counts. */
function owned(ops: readonly BatchOp[]) {
  let [acquired, counted, entries] = [0, 0, 0];
  for (const op of ops) {
    if (op.op === 'acquire') acquired += op.count;
    if (op.op === 'count') counted += op.change;
    if (op.op === 'patch') entries += op.entries.length;
  }
  return { acquired, counted, entries };
}

const clusterSizes = fc.constantFrom(16_384, 65_536, 1_048_576);
/** Around clusters, sub-blocks and leaves. */
const sizes = (clusterBytes: number) =>
  fc
    .tuple(
      fc.constantFrom(clusterBytes, clusterBytes / 16, 64 * clusterBytes),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: -513, max: 513 }),
    )
    .map(([unit, count, off]) => Math.max(1, unit * count + off));

test('every whole sub-block of a disk without holes is the disk is its own, and the rest lies where it was copied to', () => {
  fc.assert(
    fc.property(
      clusterSizes.chain((bytes) => fc.tuple(fc.constant(bytes), sizes(bytes))),
      ([clusterBytes, sizeBytes]) => {
        const disk = { layer: 5, number, clusterBytes, sizeBytes, restAt };
        const data = [{ offset: 0, length: sizeBytes }];
        const ops = adoptionOps(disk, clustersWith(data, clusterBytes)).flat();
        const claimed = claims(ops, clusterBytes);
        const subBlockBytes = clusterBytes / 16;
        const whole = Math.floor(sizeBytes / subBlockBytes);
        const all = Array.from({ length: whole }, (_, at) => at * subBlockBytes);
        expect(all.filter((at) => claimed.get(at) !== `foreign ${at}`)).toEqual([]);
        const rest = restOf(disk);
        expect(rest?.bytes ?? 0).toBe(sizeBytes - whole * subBlockBytes);
        expect(claimed.size).toBe(whole + (rest === undefined ? 0 : 1));
        if (rest !== undefined) expect(claimed.get(rest.offset)).toBe(`own ${rest.subBlock}`);
        const { acquired, counted, entries } = owned(ops);
        expect([acquired, counted]).toEqual([entries, entries]);
      },
    ),
    { numRuns: 60 },
  );
});

test('holes claim nothing, and every byte of data is claimed', () => {
  const runs = fc.uniqueArray(fc.integer({ min: 0, max: 4_000_000 }), { maxLength: 20 });
  fc.assert(
    fc.property(runs, (edges) => {
      const sorted = [...edges].sort((a, b) => a - b);
      const data = sorted.flatMap((offset, at) => {
        const end = sorted[at + 1];
        return at % 2 === 0 && end !== undefined ? [{ offset, length: end - offset }] : [];
      });
      const clusterBytes = 65_536;
      const disk = { layer: 5, number, clusterBytes, sizeBytes: 64 * clusterBytes };
      const claimed = claims(
        adoptionOps(disk, clustersWith(data, clusterBytes)).flat(),
        clusterBytes,
      );
      const clusters = new Set([...claimed.keys()].map((at) => Math.floor(at / clusterBytes)));
      const wanted = new Set<number>();
      for (const { offset, length } of data) {
        for (
          let at = Math.floor(offset / clusterBytes);
          at * clusterBytes < offset + length;
          at++
        ) {
          wanted.add(at);
        }
      }
      expect([...clusters].sort()).toEqual([...wanted].sort());
    }),
  );
});
