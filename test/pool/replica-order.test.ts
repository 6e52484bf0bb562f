// Goal: a disk's label says that it carries a replica only while the data plane writes its ring: no sooner than the ring is whole, no longer
//   than it is written.
// Method: replicas over parts that only write down what was asked of them, each failing in turn.
import { expect, test } from 'vitest';
import type { Allocator } from '../../src/pool/allocator.ts';
import type { Checkpointer } from '../../src/pool/checkpoint.ts';
import type { DiskSet, PoolDisk } from '../../src/pool/disk-set.ts';
import { type ReplicaParts, Replicas } from '../../src/pool/replicas.ts';
import { sampleLabel } from './format/samples.ts';

const withoutReplica = { journalOffset: 0, journalBytes: 0, checkpoint: null };

function recordingReplicas(done: string[], failing?: string) {
  const step = async (name: string) => {
    if (name === failing) throw new Error(`${name} failed`);
    done.push(name);
  };
  const [first, second] = [sampleLabel({ diskNumber: 0 }), sampleLabel(withoutReplica)].map(
    (label) =>
      ({
        label,
        location: { uri: 'disk' },
        plane: { condition: { state: 'online' } },
      }) as unknown as PoolDisk,
  ) as [PoolDisk, PoolDisk];
  const disks = {
    all: [first, second],
    get journals() {
      return [first, second].filter(({ label }) => label.journalBytes > 0);
    },
    leftBehind: [],
    isLeftBehind: () => false,
    journalBytes: first.label.journalBytes,
  } as unknown as DiskSet;
  const checkpointer = {
    take: async (_onTail: unknown, joining?: { disk: PoolDisk; ring: object }) => {
      await step(joining === undefined ? 'checkpoint' : 'label');
      if (joining !== undefined) joining.disk.label = { ...joining.disk.label, ...joining.ring };
    },
    leave: (disk: PoolDisk) => step(`label ${disk.label.diskNumber} says no`),
  } as unknown as Checkpointer;
  const plane = {
    beginReplica: () => step('copy'),
    endReplica: () => step('end'),
  } as unknown as ReplicaParts['plane'];
  const allocator = {
    setJournal: () => {},
    hasRoomForCheckpoint: () => true,
    usedCountOn: () => 0,
  } as unknown as Allocator;
  const grants = { takeBack: () => {} };
  const replicas = new Replicas({ disks, allocator, checkpointer, plane, grants, onTail() {} });
  return { replicas, first };
}

test('it begins: a checkpoint, the copy, then the label', async () => {
  const done: string[] = [];
  expect(await recordingReplicas(done).replicas.complete()).toBe(2);
  expect(done).toEqual(['checkpoint', 'copy', 'label']);
});

test('it ends: the label, then the ring', async () => {
  const done: string[] = [];
  const { replicas, first } = recordingReplicas(done);
  await replicas.end(first);
  expect(done).toEqual(['label 0 says no', 'end']);
});

test.each([
  ['checkpoint', []],
  ['copy', ['checkpoint']],
  ['label', ['checkpoint', 'copy', 'end']],
])('begun in vain, as the %s fails, it is no longer written', async (failing, expected) => {
  const done: string[] = [];
  const begun = recordingReplicas(done, failing).replicas.complete();
  await expect(begun).rejects.toThrow(`${failing} failed`);
  expect(done).toEqual(expected);
});

test('it does not end while its label still says that it is one', async () => {
  const done: string[] = [];
  const { replicas, first } = recordingReplicas(done, 'label 0 says no');
  await expect(replicas.end(first)).rejects.toThrow();
  expect(done).toEqual([]);
});
