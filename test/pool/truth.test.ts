/**
 * Goal: whatever mixture of labels a crash leaves, the truth is the one that loses nothing, and a disk that left is none of the pool's.
 * Method: labels by hand, as they are on the disks when their writing was cut off between any two of them.
 */
import { describe, expect, test } from 'vitest';
import type { PoolDisk } from '../../src/pool/disk-set.ts';
import type { Label } from '../../src/pool/format/label.ts';
import { chooseTruth } from '../../src/pool/truth.ts';
import { sampleLabel } from './format/samples.ts';

type Change = Partial<Label>;

/** A settled pool of three disks, the last without a replica; then `changes`, by disk number. */
function disks(changes: Readonly<Record<number, Change>>, count = 3): PoolDisk[] {
  return Array.from({ length: count }, (_, diskNumber) => {
    const data = diskNumber === 2 ? withoutReplica : {};
    const label = sampleLabel({ diskNumber, diskCount: 3, ...data, ...changes[diskNumber] });
    const location = { uri: `disk${diskNumber}`, path: `disk${diskNumber}`, kind: 'file' };
    return { label, location } as PoolDisk;
  });
}

const withoutReplica = { journalOffset: 0, journalBytes: 0, checkpoint: null };
const { checkpoint, epoch } = sampleLabel();
const sequence = (checkpoint as NonNullable<typeof checkpoint>).sequence;
const numbers = (found: readonly PoolDisk[]) => found.map(({ label }) => label.diskNumber);

describe('an epoch that only some labels carry', () => {
  test('the checkpoint is found, though the newest label is of a disk without one', () => {
    const { label } = chooseTruth(disks({ 2: { epoch: epoch + 1 } }));
    expect(label).toMatchObject({ epoch: epoch + 1, checkpoint: { sequence } });
  });

  test('or of one that has fallen behind', () => {
    const behind = { epoch: epoch + 1, checkpoint: null };
    expect(chooseTruth(disks({ 1: behind })).label.checkpoint?.sequence).toBe(sequence);
  });

  test('a label of an earlier epoch says nothing, whatever its tail', () => {
    const late = { tailSequence: 90, tailPosition: 4096 * 90, checkpoint: null };
    const { label } = chooseTruth(disks({ 0: { epoch: epoch + 1 }, 1: late }));
    expect(label).toMatchObject({ tailSequence: sequence + 1, checkpoint: { sequence } });
  });
});

test('a checkpoint that only some labels name: the newer tail, with its checkpoint', () => {
  const taken = {
    tailSequence: 40,
    tailPosition: 4096 * 40,
    checkpoint: { ...(checkpoint as NonNullable<typeof checkpoint>), sequence: 39 },
  };
  for (const at of [0, 1]) {
    const { label } = chooseTruth(disks({ [at]: taken }));
    expect(label).toMatchObject({ tailSequence: 40, checkpoint: { sequence: 39 } });
  }
  const ofData = { ...taken, checkpoint: null };
  expect(chooseTruth(disks({ 1: taken, 2: ofData })).label.checkpoint?.sequence).toBe(39);
});

test('a tail that only a disk without a replica names yet: the older one, whose checkpoint is whole', () => {
  const early = { tailSequence: 40, tailPosition: 4096 * 40 };
  const { label } = chooseTruth(disks({ 2: early }));
  expect(label).toMatchObject({ tailSequence: sequence + 1, checkpoint: { sequence } });
});

describe('a ring that was left behind', () => {
  const lost1 = { lostRings: { generation: 3, numbers: [1] } };
  const late = {
    tailSequence: 40,
    tailPosition: 4096 * 40,
    checkpoint: { ...(checkpoint as NonNullable<typeof checkpoint>), sequence: 39 },
  };

  test.each([0, 2])(
    'is none as soon as the label of disk %i says so, whatever its own says',
    (at) => {
      const { label } = chooseTruth(disks({ [at]: lost1, 1: late }));
      expect(label).toMatchObject({
        ...lost1,
        tailSequence: sequence + 1,
        checkpoint: { sequence },
      });
    },
  );

  test('is one again by its own label of a later generation', () => {
    const again = { lostRings: { generation: 4, numbers: [] } };
    const { label } = chooseTruth(disks({ 0: lost1, 1: { ...late, ...again }, 2: lost1 }));
    expect(label).toMatchObject({ ...again, tailSequence: 40, checkpoint: { sequence: 39 } });
  });

  test('is none by a label of an earlier generation, or of a later epoch', () => {
    const older = { lostRings: { generation: 2, numbers: [0] } };
    expect(chooseTruth(disks({ 0: lost1, 1: older })).label).toMatchObject(lost1);
    const next = { ...older, epoch: epoch + 1 };
    expect(chooseTruth(disks({ 0: lost1, 1: next })).label).toMatchObject(older);
  });

  test('alone it is no pool, and without any other ring none can be opened', () => {
    expect(() => chooseTruth(disks({ 1: late }).slice(1, 2))).toThrow(/missing: number 0, 2/);
    const alone = { diskCount: 2, membership: { generation: 1, numbers: [1, 2] }, ...lost1 };
    expect(() => chooseTruth(disks({ 1: alone, 2: alone }).slice(1))).toThrow(
      /no disk carries a journal/,
    );
  });
});

describe('members', () => {
  const with3 = { diskCount: 4, membership: { generation: 1, numbers: [0, 1, 2, 3] } };
  const without1 = { diskCount: 2, membership: { generation: 1, numbers: [0, 2] } };
  const all = { diskCount: 3, membership: null };

  test('a disk that joins belongs to the pool by its own label', () => {
    const found = disks({ 3: { ...with3, ...withoutReplica } }, 4);
    expect(chooseTruth(found)).toMatchObject({ label: with3, left: [] });
    expect(numbers(chooseTruth(found).members)).toEqual([0, 1, 2, 3]);
    expect(numbers(chooseTruth(found.slice(0, 3)).members)).toEqual([0, 1, 2]);
  });

  test('it is asked for as soon as another label names it', () => {
    expect(() => chooseTruth(disks({ 0: with3 }))).toThrow(/missing: number 3/);
  });

  test('a disk that leaves has left with the first label that names it no more', () => {
    for (const at of [0, 2]) {
      const found = disks({ [at]: without1 });
      expect(numbers(chooseTruth(found).left)).toEqual([1]);
      expect(chooseTruth(found).label).toMatchObject(without1);
      const others = found.filter(({ label }) => label.diskNumber !== 1);
      expect(numbers(chooseTruth(others).members)).toEqual([0, 2]);
    }
  });

  test('what one says that left, of tail and checkpoint, is not heard', () => {
    const stale = { tailSequence: 90, tailPosition: 4096 * 90 };
    const { label } = chooseTruth(disks({ 0: without1, 1: stale, 2: without1 }));
    expect(label.tailSequence).toBe(sequence + 1);
  });

  test('one that left is no pool', () => {
    const alone = disks({}).filter(({ label }) => label.diskNumber === 1);
    expect(() => chooseTruth(alone)).toThrow(/missing: number 0, 2/);
    expect(() => chooseTruth(disks({ 1: all }).slice(1))).toThrow(/missing: number 0/);
  });
});
