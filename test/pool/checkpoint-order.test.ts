// Goal: the tail of the journal moves, and the old checkpoint is given up, only behind durable labels that name the new one.
// Method: a checkpointer over a disk, an index and an allocator that only write down what was asked of them.
import { expect, test } from 'vitest';
import type { Allocator } from '../../src/pool/allocator.ts';
import { Checkpointer } from '../../src/pool/checkpoint.ts';
import type { DiskSet, PoolDisk } from '../../src/pool/disk-set.ts';
import type { PoolIndex } from '../../src/pool/pool-index.ts';

const oldChain = [200, 201];

function recordingCheckpointer(done: string[], failing?: string): Checkpointer {
  const step = async (name: string) => {
    if (name === failing) throw new Error(`${name} failed`);
    done.push(name);
  };
  const disk = {
    location: { uri: 'disk' },
    label: { diskNumber: 0, clusterBytes: 16384 },
    plane: { write: () => step('chain') },
  } as unknown as PoolDisk;
  const disks = {
    journals: [disk],
    answering: [disk],
    isLeftBehind: () => false,
    whileReplica: async (_disk: PoolDisk, work: Promise<unknown>) => {
      await work;
      return true;
    },
    expectOwned: async () => {},
    sync: () => step('sync'),
    writeLabels: () => step('labels'),
  } as unknown as DiskSet;
  const snapshot = { entries: async function* () {}, close: async () => {} };
  const applied = { sequence: 5, position: 4096 };
  const index = {
    foldedSnapshot: async () => ({ snapshot, applied }),
    store: { write: async () => {} },
  } as unknown as PoolIndex;
  let next = 100;
  const allocator = {
    holdForCheckpoint: (_disk: number, count: number) =>
      Array.from({ length: count }, () => next++),
    freeCheckpoint: (_disk: number, clusters: readonly number[]) => {
      if (clusters.includes(oldChain[0] as number)) done.push('old chain free');
    },
  } as unknown as Allocator;
  return new Checkpointer({ disks, index, allocator, chains: new Map([[0, oldChain]]) });
}

test('chain, sync, labels, tail, old chain', async () => {
  const done: string[] = [];
  await recordingCheckpointer(done).take((position) => done.push(`tail ${position}`));
  expect(done).toEqual(['chain', 'sync', 'labels', 'tail 4096', 'old chain free']);
});

for (const failing of ['chain', 'sync', 'labels']) {
  test(`when ${failing} fails, tail and old chain stay`, async () => {
    const done: string[] = [];
    const checkpointer = recordingCheckpointer(done, failing);
    const taken = checkpointer.take((position) => done.push(`tail ${position}`));
    await expect(taken).rejects.toThrow(`${failing} failed`);
    expect(done.filter((name) => /tail|old/.test(name))).toEqual([]);
  });
}
