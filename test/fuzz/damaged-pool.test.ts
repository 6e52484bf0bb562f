// Goal: whatever is on the disks, checksums that fit among it, the offline check and salvage end with what they found: no other error, no hang, no
//   byte of a disk changed.
// Method: sound pools, hurt where labels, records, checkpoint clusters lie; half of the time under checksums made to fit, so that the damage
//   gets past them into what reads the fields. The decoders by themselves: test/pool/format/decoders.test.ts.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { decodeBatch } from '../../src/pool/format/batch.ts';
import { FormatError } from '../../src/pool/format/format-error.ts';
import { xxh64WithoutField } from '../../src/pool/format/hash.ts';
import { Generation } from '../../src/pool/overlay.ts';
import { Salvage } from '../../src/pool/salvage/salvage.ts';
import { soundPool, writePool } from '../pool/check/pool-files.ts';
import { runs } from './runs.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-fuzz-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const clusterBytes = 16384;

/** A structure on the disk, with the place of its checksum and where what it covers ends. */
interface Structure {
  readonly at: number;
  readonly hashAt: number;
  readonly end: (bytes: Buffer) => number;
}

const label: Structure = { at: 4096, hashAt: 40, end: () => 4096 };
const record = (at: number): Structure => ({
  at: 65536 + at,
  hashAt: 56,
  end: (bytes) => 64 + Math.min(bytes.readUInt32LE(48), 4096),
});
const chainBlock = (disk: number): Structure => ({
  at: (disk === 0 ? 100 : 200) * clusterBytes,
  hashAt: 24,
  end: (bytes) => 32 + Math.min(bytes.readUInt32LE(4), clusterBytes - 32),
});

function reseal(disk: Buffer, { at, hashAt, end }: Structure): void {
  const bytes = disk.subarray(at);
  const hash = xxh64WithoutField(bytes.subarray(0, end(bytes)), hashAt);
  bytes.writeBigUInt64LE(hash, hashAt);
}

const plant = fc.record({
  disk: fc.nat(1),
  where: fc.nat(4),
  at: fc.oneof(fc.nat(120), fc.nat(clusterBytes - 1)),
  bytes: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 8 }),
    fc
      .constantFrom([0xff, 0xff, 0xff, 0xff], [0], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0])
      .map((list) => Uint8Array.from(list)),
  ),
  isSealed: fc.boolean(),
  /** On both disks, so that no replica is left. */
  isEverywhere: fc.boolean(),
});

type Plant = typeof plant extends fc.Arbitrary<infer T> ? T : never;

function hurt(image: Buffer, disk: number, plants: readonly Plant[]): void {
  const structures = [label, record(0), record(4096), record(8192), chainBlock(disk)];
  for (const { where, at, bytes, isSealed, isEverywhere, ...planted } of plants) {
    if (planted.disk !== disk && !isEverywhere) continue;
    const structure = structures[where] as Structure;
    const room = structure.end(image.subarray(structure.at));
    image.set(bytes, structure.at + (at % room));
    if (isSealed) reseal(image, structure);
  }
}

async function endsWell(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

test('the offline check and salvage of hurt pools', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(plant, { minLength: 1, maxLength: 4 }), async (plants) => {
      const paths = writePool(folder, soundPool(), (image, disk) => {
        hurt(image, disk, plants);
        return undefined;
      });
      const before = paths.map((path) => readFileSync(path));
      await endsWell(() => checkOffline(paths));
      await endsWell(async () => {
        const salvage = await Salvage.open(paths);
        try {
          for (const target of salvage.overview.targets) {
            // A record may promise any size: what lies in it is what matters here.
            const sizeBytes = Math.min(target.sizeBytes, 2 ** 24);
            await salvage.extract({ ...target, sizeBytes }, async () => {});
          }
        } finally {
          await salvage.close();
        }
      });
      for (const [at, path] of paths.entries()) {
        expect(Buffer.compare(readFileSync(path), before[at] as Buffer)).toBe(0);
      }
    }),
    runs(40),
  );
});

test('a batch that is decoded can be applied', () => {
  const word = fc.oneof(fc.nat(300), fc.constantFrom(0xffff, 0x10000, 0xffffffff));
  const entry = fc.tuple(fc.nat(63), word, word);
  fc.assert(
    fc.property(
      fc.nat(100),
      fc.nat(100),
      fc.array(entry, { maxLength: 5 }),
      (layer, leaf, entries) => {
        const bytes = Buffer.alloc(19 + 9 * entries.length);
        bytes[0] = 6;
        bytes.writeBigUInt64LE(BigInt(layer), 1);
        bytes.writeBigUInt64LE(BigInt(leaf), 9);
        bytes.writeUInt16LE(entries.length, 17);
        for (const [at, [slot, lo, hi]] of entries.sort((a, b) => a[0] - b[0]).entries()) {
          bytes[19 + 9 * at] = slot;
          bytes.writeUInt32LE(lo, 20 + 9 * at);
          bytes.writeUInt32LE(hi, 24 + 9 * at);
        }
        try {
          const changes = new Generation();
          for (const op of decodeBatch(bytes)) {
            if (op.op === 'patch') changes.patch(op.layer, op.leaf, op.entries);
          }
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
        }
      },
    ),
    runs(2000),
  );
});
