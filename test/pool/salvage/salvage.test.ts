// Goal: whatever is left of a pool's disks, salvage copies out exactly what is left, and says of the rest exactly where it is and why.
// Method: write a pool through the codecs, hurt its disks in one way, salvage; content and missing ranges are compared with a model that
//   knows the plan of the pool. Then random damage: no byte comes out that the pool never held there.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeBatch } from '../../../src/pool/format/batch.ts';
import { xxh64 } from '../../../src/pool/format/hash.ts';
import { leafKey } from '../../../src/pool/format/index-keys.ts';
import { makeSlot } from '../../../src/pool/format/slot.ts';
import { withNewFile } from '../../../src/pool/salvage/output-file.ts';
import { Salvage } from '../../../src/pool/salvage/salvage.ts';
import type { MissingRange } from '../../../src/pool/salvage/types.ts';
import { runs } from '../../fuzz/runs.ts';
import { type PoolSpec, writePool } from '../check/pool-files.ts';
import { otherUuid } from '../format/samples.ts';
import {
  byReason,
  chainClusters,
  clusterBytes,
  contentSpec,
  expected,
  type Fault,
  fillData,
  firstRecordAt,
  leafCount,
  leavesLostWith,
  pattern,
  planAfter,
  sizeBytes,
  subBlockBytes,
} from './salvage-model.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-salvage-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Hurt = (disk: Buffer, number: number) => Buffer | undefined;

function poolWith(hurt: Hurt, change: (spec: PoolSpec) => void = () => {}): string[] {
  const spec = contentSpec();
  change(spec);
  return writePool(folder, spec, (disk, number) => {
    fillData(disk, number);
    return hurt(disk, number);
  });
}

interface Outcome {
  readonly image: Buffer;
  readonly missing: readonly MissingRange[];
  readonly codes: readonly string[];
  readonly lost: number;
}

async function salvaged(paths: readonly string[], name = 'gold'): Promise<Outcome> {
  const salvage = await Salvage.open(paths);
  try {
    const image = Buffer.alloc(sizeBytes);
    const { missing } = await salvage.extract(salvage.target(name), async (offset, bytes) => {
      image.set(bytes, offset);
    });
    const { findings, lostChanges } = salvage.overview;
    return { image, missing, codes: findings.map(({ code }) => code), lost: lostChanges.length };
  } finally {
    await salvage.close();
  }
}

function expectSame(outcome: Outcome, wanted: ReturnType<typeof expected>): void {
  expect(byReason(outcome.missing)).toEqual(wanted.missing);
  expect(Buffer.compare(outcome.image, wanted.image)).toBe(0);
}

const zero = (disk: Buffer, from: number, length: number) => {
  disk.fill(0, from, from + length);
};
const block = (disk: Buffer, number: number, at: number) =>
  disk.subarray((chainClusters[number]?.[at] ?? 0) * clusterBytes).subarray(0, clusterBytes);
const flip = (bytes: Buffer, at: number) => {
  bytes[at] = (bytes[at] as number) ^ 0x10;
};
const all = planAfter(5);

describe('nothing is missing', () => {
  test.each<[string, Hurt]>([
    ['of a sound pool', () => undefined],
    ['when one copy of each label is damaged', (disk) => disk.fill('VARVEDSK', 0, 9)],
    [
      'when a disk has no label, and its ring tells which it is',
      (disk, n) => {
        if (n === 1) zero(disk, 0, 8192);
        return undefined;
      },
    ],
    [
      'when one replica of the checkpoint is gone',
      (disk, n) => {
        if (n === 0) for (const at of [0, 1, 2]) block(disk, n, at).fill(0);
        return undefined;
      },
    ],
    [
      'when each replica of the checkpoint lacks another cluster',
      (disk, n) => {
        block(disk, n, n).fill(0);
        return undefined;
      },
    ],
    [
      'when a bit of each cluster is turned over on one of the disks',
      (disk, n) => {
        for (const at of [0, 1, 2]) if (at % 2 === n) flip(block(disk, n, at), 2000);
        return undefined;
      },
    ],
    [
      'when each replica of the journal lacks another record',
      (disk, n) => {
        zero(disk, firstRecordAt + (1 + n) * 4096, 64);
        return undefined;
      },
    ],
    [
      'when one ring is gone',
      (disk, n) => {
        if (n === 0) zero(disk, firstRecordAt, 256 * 1024);
        return undefined;
      },
    ],
  ])('%s', async (_name, hurt) => {
    const paths = poolWith(hurt);
    const outcome = await salvaged(paths);
    expectSame(outcome, expected(all, [3, 2]));
    expect(outcome.lost).toBe(0);
    expectSame(await salvaged(paths, 'gold@s'), expected(all, [2]));
  });

  test('when the newest checkpoint is gone, an older one is there, and the journal leads on from it', async () => {
    const checkpoint = { clusterCount: 1, payloadBytes: 9, sequence: 7, hash: 1n };
    const later = (firstCluster: number) => ({
      tailSequence: 8,
      tailPosition: 2 * 4096,
      checkpoint: { ...checkpoint, firstCluster },
    });
    const paths = poolWith(
      () => undefined,
      (spec) => {
        spec.labels = [later(450), later(460)];
      },
    );
    const outcome = await salvaged(paths);
    expectSame(outcome, expected(all, [3, 2]));
    expect(outcome.lost).toBe(0);
    expect(outcome.codes).toContain('checkpoint/older');
  });
});

describe('what is missing is told exactly', () => {
  const onDisk =
    (number: number, reason: MissingRange['reason']): Fault =>
    ({ disk }) =>
      disk === number ? reason : undefined;

  test.each([0, 1])('disk %d is not there', async (number) => {
    const paths = poolWith(() => undefined).filter((_, at) => at !== number);
    const fault = onDisk(number, 'disk-missing');
    expectSame(await salvaged(paths), expected(all, [3, 2], { fault }));
    expectSame(await salvaged(paths, 'gold@s'), expected(all, [2], { fault }));
  });

  test('a disk has neither label nor journal', async () => {
    const paths = poolWith((disk, n) => {
      if (n === 1) zero(disk, 0, 65536 + 256 * 1024);
      return undefined;
    });
    const fault = onDisk(1, 'label-bad');
    expectSame(await salvaged(paths), expected(all, [3, 2], { fault }));
  });

  test('a disk is an old copy', async () => {
    const paths = poolWith(
      () => undefined,
      (spec) => {
        spec.labels = [{}, { epoch: 1, tailSequence: 3 }];
      },
    );
    const fault = onDisk(1, 'disk-stale');
    expectSame(await salvaged(paths), expected(all, [3, 2], { fault }));
  });

  test('a disk was cut off', async () => {
    const end = 300 * clusterBytes + 5 * subBlockBytes;
    const paths = poolWith((disk, n) => (n === 1 ? disk.subarray(0, end) : undefined));
    const fault: Fault = ({ disk, cluster }, sub) =>
      disk === 1 && cluster * clusterBytes + sub * subBlockBytes >= end
        ? 'disk-cut-off'
        : undefined;
    expectSame(await salvaged(paths), expected(all, [3, 2], { fault }));
  });

  test.each([0, 1, 2])('cluster %d of the checkpoint is bad in every replica', async (at) => {
    const lost = leavesLostWith(contentSpec(), at);
    const unknown = (layer: number, leaf: number) => (lost(layer, leaf) ? 'map-lost' : undefined);
    const paths = poolWith((disk, n) => {
      flip(block(disk, n, at), 2000);
      return undefined;
    });
    // The last cluster has the records: without them there is nothing to be named.
    if (at === 2) {
      const salvage = await Salvage.open(paths);
      expect(salvage.overview.targets).toEqual([]);
      expect(salvage.overview.lostChanges).toHaveLength(1);
      return salvage.close();
    }
    expectSame(await salvaged(paths), expected(all, [3, 2], { unknown }));
    expectSame(await salvaged(paths, 'gold@s'), expected(all, [2], { unknown }));
  });

  test('a cluster of the checkpoint is gone with what leads to the next one', async () => {
    const lost = leavesLostWith(contentSpec(), 1);
    const unknown = (layer: number, leaf: number) => (lost(layer, leaf) ? 'map-lost' : undefined);
    const paths = poolWith((disk, n) => {
      block(disk, n, 1).fill(0);
      return undefined;
    });
    expectSame(await salvaged(paths, 'gold@s'), expected(all, [2], { unknown }));
  });

  test('a record in the middle of the journal is bad in every replica', async () => {
    const paths = poolWith((disk) => {
      flip(disk, firstRecordAt + 4096 + 80);
      return undefined;
    });
    const fault: Fault = ({ disk, cluster }) =>
      disk === 0 && cluster === 200 ? 'overwritten' : undefined;
    const outcome = await salvaged(paths);
    expectSame(outcome, expected(planAfter(1), [3, 2], { fault }));
    expect(outcome.lost).toBe(1);
    expect(outcome.codes).toContain('journal/damaged');
  });

  test('bits of a sealed cluster have turned over', async () => {
    const [hi, lo] = makeSlot(1, 31, 0xffff);
    const sound = Buffer.concat(Array.from({ length: 16 }, (_, sub) => pattern(1, 31, sub)));
    const hash = Buffer.alloc(8);
    hash.writeBigUInt64BE(xxh64(sound));
    const seal = { slot: 0, hi, lo, hashHi: hash.readUInt32BE(0), hashLo: hash.readUInt32BE(4) };
    const sealed = (spec: PoolSpec) => {
      const ops = [{ op: 'seal' as const, layer: 2, leaf: 1, seals: [seal] }];
      spec.tail.push({ kind: 2, payload: encodeBatch(ops) });
    };
    expectSame(
      await salvaged(
        poolWith(() => undefined, sealed),
        'gold@s',
      ),
      expected(all, [2]),
    );
    const paths = poolWith((disk, n) => {
      if (n === 1) flip(disk, 31 * clusterBytes + 9000);
      return undefined;
    }, sealed);
    const fault: Fault = ({ disk, cluster }) =>
      disk === 1 && cluster === 31 ? 'content-damaged' : undefined;
    expectSame(await salvaged(paths, 'gold@s'), expected(all, [2], { fault }));
  });

  test('a leaf makes no sense', async () => {
    const bad = { key: leafKey(2, 7), value: Buffer.alloc(9) };
    const paths = poolWith(
      () => undefined,
      (spec) => {
        spec.slots = spec.slots.filter(
          ([layer, slot]) => layer !== 2 || Math.floor(slot / 64) !== 7,
        );
        spec.extra.push(bad);
      },
    );
    const unknown = (layer: number, leaf: number) =>
      layer === 2 && leaf === 7 ? 'leaf-damaged' : undefined;
    expectSame(await salvaged(paths), expected(all, [3, 2], { unknown }));
  });

  test('the record of a layer is gone', async () => {
    const paths = poolWith(
      () => undefined,
      (spec) => {
        delete spec.records['layer/2'];
      },
    );
    const unknown = (layer: number) => (layer === 9 ? 'layer-lost' : undefined);
    expectSame(await salvaged(paths), expected(all, [3, 2, 9], { unknown }));
  });

  test('a slot points outside of the disks', async () => {
    const paths = poolWith(
      () => undefined,
      (spec) => {
        spec.slots.push([3, 130, 0, 5000, 0x0001], [3, 131, 7, 30, 0x0001], [3, 132, 1, 2, 0x0001]);
      },
    );
    const plan = planAfter(5);
    for (const slot of [130, 131, 132]) plan.set(`3/${slot}`, [{ disk: 9, cluster: 1, mask: 1 }]);
    const fault: Fault = ({ disk }) => (disk === 9 ? 'address-invalid' : undefined);
    expectSame(await salvaged(paths), expected(plan, [3, 2], { fault }));
  });

  test('no checkpoint can be read, and an older one leads not up to the journal', async () => {
    const gone = { clusterCount: 1, payloadBytes: 9, sequence: 7, hash: 1n };
    const paths = poolWith(
      (disk) => {
        zero(disk, firstRecordAt, 64);
        return undefined;
      },
      (spec) => {
        const label = { tailSequence: 8, tailPosition: 2 * 4096 };
        spec.labels = [450, 460].map((firstCluster) => ({
          ...label,
          checkpoint: { ...gone, firstCluster },
        }));
      },
    );
    const outcome = await salvaged(paths);
    const fault: Fault = ({ disk, cluster }) =>
      disk === 0 && cluster === 200 ? 'overwritten' : undefined;
    expectSame(outcome, expected(planAfter(0), [3, 2], { fault }));
    expect(outcome.lost).toBe(1);
  });
});

describe('what is refused', () => {
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error) => error.code,
    );

  test('disks without any label, of two pools, and one disk twice', async () => {
    const bare = poolWith((disk) => {
      zero(disk, 0, 8192);
      return undefined;
    });
    expect(await codeOf(Salvage.open(bare))).toBe('pool/damaged');
    const mixed = poolWith(
      () => undefined,
      (spec) => {
        spec.labels = [{}, { poolUuid: otherUuid }];
      },
    );
    expect(await codeOf(Salvage.open(mixed))).toBe('request/invalid');
    const [first = ''] = poolWith(() => undefined);
    expect(await codeOf(Salvage.open([first, first]))).toBe('disk/unusable');
  });

  test('a name that nobody knows', async () => {
    const salvage = await Salvage.open(poolWith(() => undefined));
    expect(() => salvage.target('silver')).toThrow(
      expect.objectContaining({ code: 'volume/not-found' }),
    );
    expect(() => salvage.target('gold@x')).toThrow(
      expect.objectContaining({ code: 'snapshot/not-found' }),
    );
    await salvage.close();
  });
});

test('the disks are not written to, and the file is sparse', async () => {
  const paths = poolWith(() => undefined);
  const before = paths.map((path) => ({ bytes: readFileSync(path), at: statSync(path).mtimeMs }));
  const file = join(folder, 'gold.raw');
  const salvage = await Salvage.open(paths);
  await withNewFile(file, sizeBytes, (write) => salvage.extract(salvage.target('gold'), write));
  await salvage.close();
  const wanted = expected(all, [3, 2]).image;
  expect(Buffer.compare(readFileSync(file), wanted)).toBe(0);
  expect(statSync(file).blocks * 512).toBeLessThan(4 * leafCount * clusterBytes);
  for (const [at, path] of paths.entries()) {
    expect(Buffer.compare(readFileSync(path), before[at]?.bytes as Buffer)).toBe(0);
    expect(statSync(path).mtimeMs).toBe(before[at]?.at);
  }
});

test('of a copy that cannot be finished nothing is left', async () => {
  const file = join(folder, 'half.raw');
  const broken = withNewFile(file, sizeBytes, async (write) => {
    await write(0, Buffer.alloc(4096, 1));
    throw new Error('the disk is gone');
  });
  await expect(broken).rejects.toThrow('the disk is gone');
  expect(existsSync(file)).toBe(false);
});

test('random damage of what tells where things are never brings out what was never there', async () => {
  const images = [5, 4, 3, 2, 1, 0].map((records) => expected(planAfter(records), [3, 2]).image);
  const place = fc.oneof(
    fc.nat(8191),
    fc.integer({ min: firstRecordAt, max: firstRecordAt + 6 * 4096 }),
    fc.nat(3 * clusterBytes - 1).map((at) => -1 - at),
  );
  const harm = fc.tuple(fc.nat(1), place, fc.integer({ min: 1, max: 3000 }));
  await fc.assert(
    fc.asyncProperty(fc.array(harm, { minLength: 1, maxLength: 6 }), async (harms) => {
      const paths = poolWith((disk, n) => {
        for (const [number, at, length] of harms) {
          if (number !== n) continue;
          const [first = 0] = chainClusters[n] ?? [];
          const from = at < 0 ? first * clusterBytes - 1 - at : at;
          disk.fill(0xa5, from, from + length);
        }
        return undefined;
      });
      const outcome = await salvaged(paths).catch((error) => {
        if (typeof error.code === 'string') return undefined;
        throw error;
      });
      if (outcome === undefined) return;
      const missing = Buffer.alloc(sizeBytes);
      for (const { offset, length } of outcome.missing) missing.fill(1, offset, offset + length);
      for (let at = 0; at < sizeBytes; at += subBlockBytes) {
        if (missing[at] === 1) continue;
        const piece = outcome.image.subarray(at, at + subBlockBytes);
        const isThere = (image: Buffer) =>
          Buffer.compare(image.subarray(at, at + subBlockBytes), piece) === 0;
        if (!images.some(isThere)) expect.unreachable(`offset ${at}`);
      }
    }),
    runs(15),
  );
});
