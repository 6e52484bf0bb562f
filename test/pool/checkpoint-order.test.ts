// Goal: the tail of the journal moves, and the old checkpoint is given up, only behind durable labels that name the new one. A chain that a label may name,
//   because it could not be written, is given up behind the next labels, or when the disk carries none any more.
// Method: a checkpointer over a disk, an index and an allocator that only write down what was asked of them.
import { beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import type { Allocator } from '../../src/pool/allocator.ts';
import { Checkpointer } from '../../src/pool/checkpoint.ts';
import type { DiskSet, PoolDisk } from '../../src/pool/disk-set.ts';
import type { PoolIndex } from '../../src/pool/pool-index.ts';

const oldChain = [200, 201];
/** The first cluster of the first chain that is written. */
const newChain = 100;
/** Which step fails. */
let failing: string | undefined;

function recordingCheckpointer(done: string[]): { checkpointer: Checkpointer; disk: PoolDisk } {
  const step = async (name: string) => {
    if (name === failing) throw new StorageError('disk/io', `${name} failed`);
    done.push(name);
  };
  const disk = {
    location: { uri: 'disk' },
    label: { diskNumber: 0, clusterBytes: 16384 },
    plane: { write: () => step('chain') },
  } as unknown as PoolDisk;
  const other = { label: { diskNumber: 1 } } as unknown as PoolDisk;
  const noReplica = async () => {
    if (failing === 'another label') throw new StorageError('disk/io', 'no label');
  };
  const disks = {
    journals: [disk],
    answering: [disk, other],
    isLeftBehind: () => false,
    whileReplica: async (_disk: PoolDisk, work: Promise<unknown>) => {
      await work;
      return true;
    },
    expectOwned: async () => {},
    sync: () => step('sync'),
    writeLabel: (of: PoolDisk) => (of === other ? noReplica() : step('labels')),
    writeLabels: () => step('labels'),
  } as unknown as DiskSet;
  const snapshot = { entries: async function* () {}, close: async () => {} };
  const applied = { sequence: 5, position: 4096 };
  const index = {
    foldedSnapshot: async () => ({ snapshot, applied }),
    store: { write: async () => {} },
  } as unknown as PoolIndex;
  let next = newChain;
  const allocator = {
    holdForCheckpoint: (_disk: number, count: number) =>
      Array.from({ length: count }, () => next++),
    freeCheckpoint: (_disk: number, clusters: readonly number[]) => {
      if (clusters.includes(oldChain[0] as number)) done.push('old chain free');
      if (clusters.includes(newChain)) done.push('new chain free');
    },
  } as unknown as Allocator;
  const chains = new Map([[0, oldChain]]);
  return { checkpointer: new Checkpointer({ disks, index, allocator, chains }), disk };
}

beforeEach(() => {
  failing = undefined;
});

test('chain, sync, labels, tail, old chain', async () => {
  const done: string[] = [];
  const { checkpointer } = recordingCheckpointer(done);
  await checkpointer.take((position) => done.push(`tail ${position}`));
  expect(done).toEqual(['chain', 'sync', 'labels', 'tail 4096', 'old chain free']);
});

for (const at of ['chain', 'sync', 'labels']) {
  test(`when ${at} fails, tail and old chain stay`, async () => {
    const done: string[] = [];
    failing = at;
    const { checkpointer } = recordingCheckpointer(done);
    const taken = checkpointer.take((position) => done.push(`tail ${position}`));
    await expect(taken).rejects.toThrow(`${at} failed`);
    expect(done.filter((name) => /tail|old/.test(name))).toEqual([]);
  });
}

test('a disk without a replica may keep its old label', async () => {
  const done: string[] = [];
  failing = 'another label';
  const { checkpointer } = recordingCheckpointer(done);
  await checkpointer.take();
  expect(done).toContain('old chain free');
});

describe('when labels fail', () => {
  const done: string[] = [];
  let parts: ReturnType<typeof recordingCheckpointer>;

  beforeEach(async () => {
    done.length = 0;
    failing = 'labels';
    parts = recordingCheckpointer(done);
    await expect(parts.checkpointer.take()).rejects.toThrow('labels failed');
    failing = undefined;
  });

  test('the new chain stays, until the next labels name another one', async () => {
    expect(done).not.toContain('new chain free');
    await parts.checkpointer.take();
    expect(done.slice(done.indexOf('labels'))).toEqual([
      'labels',
      'old chain free',
      'new chain free',
    ]);
  });

  test('the new chain stays, until the disk carries no checkpoint', () => {
    parts.checkpointer.forget(parts.disk);
    expect(done.slice(-2)).toEqual(['old chain free', 'new chain free']);
  });
});
