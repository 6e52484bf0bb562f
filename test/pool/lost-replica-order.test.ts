// Goal: a round of the journal goes on without a replica only behind durable labels of all others that say so; a label that cannot be written
//   keeps it waiting; the last replica is never left behind.
// Method: LostReplicas over parts that only write down what was asked of them, the writing of labels failing on demand.
import { expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import type { DiskSet, PoolDisk } from '../../src/pool/disk-set.ts';
import { LostReplicas } from '../../src/pool/lost-replicas.ts';
import type { Replicas } from '../../src/pool/replicas.ts';
import { ManualClock } from './fixture.ts';
import { sampleLabel } from './format/samples.ts';

function recordingParts(failing: { labels: boolean }) {
  const done: string[] = [];
  const left = new Set<PoolDisk>();
  const all = [0, 1, 2].map(
    (diskNumber) =>
      ({
        label: sampleLabel({ diskNumber }),
        location: { uri: `disk${diskNumber}` },
        plane: { isPatient: true, condition: { state: 'online' } },
      }) as unknown as PoolDisk,
  );
  const writeLabel = async (disk: PoolDisk) => {
    await new Promise((resolve) => setImmediate(resolve));
    if (failing.labels) throw new StorageError('disk/io', 'no label');
    done.push(`label ${disk.label.diskNumber}`);
  };
  const disks = {
    all,
    get journals() {
      return all.filter((disk) => !left.has(disk));
    },
    get leftBehind() {
      return [...left];
    },
    isLeftBehind: (disk: PoolDisk) => left.has(disk),
    leaveBehind: (disk: PoolDisk) => left.add(disk),
    whileReplica: async (_disk: PoolDisk, work: Promise<unknown>) => {
      await work;
      return true;
    },
    writeLabel,
    writeLabels: (_change: unknown, [disk]: readonly PoolDisk[]) => writeLabel(disk as PoolDisk),
  } as unknown as DiskSet;
  const replicas = {
    lose: ({ label }: PoolDisk) => done.push(`go on without ${label.diskNumber}`),
    isBack: () => false,
  } as unknown as Replicas;
  const lost = new LostReplicas({
    disks,
    clock: new ManualClock(),
    replicas,
    complete: async () => {},
    tell: (_level, kind) => done.push(kind),
    onError: () => done.push('error'),
  });
  return { lost, done, disks };
}

/** Everything that was begun has had its turn. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test('the labels of all others, then the ring', async () => {
  const { lost, done } = recordingParts({ labels: false });
  lost.lag([{ disk: 1, error: 0 }]);
  await settled();
  const expected = ['label 0', 'label 2', 'go on without 1', 'pool/journal-replica-lost'];
  expect(done).toEqual(expected);
});

test('labels that cannot be written keep the round waiting, until told again', async () => {
  const failing = { labels: true };
  const { lost, done } = recordingParts(failing);
  lost.lag([{ disk: 1, error: 5 }]);
  await settled();
  // The other two cannot leave each other behind for ever: one remains, whose label is not written.
  expect(done).toEqual([]);
  failing.labels = false;
  lost.lag([{ disk: 1, error: 5 }]);
  await settled();
  expect(done).toContain('go on without 1');
  expect(done.indexOf('go on without 1')).toBeGreaterThan(
    done.findIndex((step) => /label/.test(step)),
  );
});

test('labels that cannot be written, and nobody waits for: the pool has failed', async () => {
  const { lost, done, disks } = recordingParts({ labels: true });
  for (const { plane } of disks.all) Object.assign(plane, { isPatient: false });
  lost.lag([{ disk: 1, error: 5 }]);
  await settled();
  expect(done).toEqual(['error']);
});

test('the last replica is not left behind', async () => {
  const { lost, done, disks } = recordingParts({ labels: false });
  lost.lag([0, 1, 2].map((disk) => ({ disk, error: 5 })));
  await settled();
  expect([done, disks.leftBehind]).toEqual([[], []]);
});
