// Goal: a scan finds exactly the records written since the tail, whatever earlier laps and lives left in the ring.
// Method: a model writes seeded records round and round a small ring; every scan is compared with what is live.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeDeltas, forEachDelta } from '../../../src/pool/format/delta.ts';
import {
  decodeDeltasPayload,
  decodeRecord,
  encodeDeltasPayload,
  encodeRecord,
  type JournalEnd,
  type JournalRecord,
  paddedRecordBytes,
  ringSegments,
  scanJournal,
} from '../../../src/pool/format/journal-record.ts';
import { flipBit, otherUuid, poolUuid, refusal } from './samples.ts';

const journalOffset = 65536;
const journalBytes = 16 * 4096;

/** A disk whose ring is written as the committer does it. */
class Ring {
  readonly disk = new Uint8Array(journalOffset + journalBytes);
  tail = { position: 0, sequence: 1 };
  head = { position: 0, sequence: 1 };
  epoch = 1;
  live: { sequence: number; payload: Uint8Array }[] = [];

  /** Writes one record; returns false when the ring has no room. */
  append(payload: Uint8Array): boolean {
    const { position, sequence } = this.head;
    const length = paddedRecordBytes(payload.length);
    if (position + length - this.tail.position > journalBytes) return false;
    this.write(encodeRecord({ kind: 2, poolUuid, epoch: this.epoch, sequence, position }, payload));
    this.head = { position: position + length, sequence: sequence + 1 };
    this.live.push({ sequence, payload });
    return true;
  }

  write(record: Uint8Array): void {
    let from = 0;
    for (const { offset, length } of ringSegments(
      this.head.position,
      record.length,
      journalBytes,
    )) {
      this.disk.set(record.subarray(from, from + length), journalOffset + offset);
      from += length;
    }
  }

  trimTo(sequence: number): void {
    while (this.live.length > 0 && (this.live[0]?.sequence ?? 0) < sequence) {
      const first = this.live.shift();
      this.tail.position += paddedRecordBytes(first?.payload.length ?? 0);
      this.tail.sequence += 1;
    }
  }

  async scan(uuid = poolUuid): Promise<{ records: JournalRecord[]; end: JournalEnd | undefined }> {
    const records: JournalRecord[] = [];
    let end: JournalEnd | undefined;
    const tail = {
      journalOffset,
      journalBytes,
      poolUuid: uuid,
      tailPosition: this.tail.position,
      tailSequence: this.tail.sequence,
    };
    const read = async (offset: number, length: number) => this.disk.slice(offset, offset + length);
    for await (const record of scanJournal(read, tail, (e) => {
      end = e;
    })) {
      records.push(record);
    }
    return { records, end };
  }
}

function payloadOf(length: number, fill: number): Uint8Array {
  return new Uint8Array(length).fill(fill);
}

test('a scan finds what is live, on every lap', async () => {
  const step = fc.record({
    bytes: fc.integer({ min: 0, max: 14000 }),
    trim: fc.integer({ min: 0, max: 4 }),
    crash: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
      const ring = new Ring();
      for (const [index, { bytes, trim, crash }] of steps.entries()) {
        if (crash) ring.epoch += 1;
        if (!ring.append(payloadOf(bytes, index))) ring.trimTo(ring.tail.sequence + trim);
      }
      const { records, end } = await ring.scan();
      expect(records.map(({ sequence }) => sequence)).toEqual(ring.live.map((r) => r.sequence));
      const same = records.every(
        (record, i) => Buffer.compare(record.payload, ring.live[i]?.payload as Uint8Array) === 0,
      );
      expect(same).toBe(true);
      expect(end).toMatchObject(ring.head);
    }),
    { numRuns: 60 },
  );
});

test('a survivor of an earlier life, with the right place and sequence, is not accepted', async () => {
  const ring = new Ring();
  for (let i = 0; i < 3; i++) ring.append(payloadOf(100, i));
  // The second life lost record 2 and 3 and wrote its own record 2 over the first of them.
  ring.head = { position: 4096, sequence: 2 };
  ring.epoch = 2;
  ring.append(payloadOf(100, 9));
  const { records, end } = await ring.scan();
  expect(records.map(({ epoch, sequence }) => [epoch, sequence])).toEqual([
    [1, 1],
    [2, 2],
  ]);
  expect(end).toMatchObject({ reason: 'not-expected', position: 8192, sequence: 3, epoch: 2 });
});

test('a full ring ends after one lap', async () => {
  const ring = new Ring();
  while (ring.append(payloadOf(4000, 1)));
  const { records, end } = await ring.scan();
  expect(records.length).toBe(16);
  expect(end?.reason).toBe('lap');
});

test('an empty ring, another pool and a disk that ends are told apart', async () => {
  expect((await new Ring().scan()).end?.reason).toBe('bad-magic');
  const ring = new Ring();
  ring.append(payloadOf(10, 1));
  expect((await ring.scan(otherUuid)).end?.reason).toBe('not-expected');
  const tail = { journalOffset, journalBytes, poolUuid, tailPosition: 0, tailSequence: 1 };
  const ends: JournalEnd[] = [];
  for await (const _ of scanJournal(
    async () => new Uint8Array(5),
    tail,
    (end) => ends.push(end),
  ));
  expect(ends.map(({ reason }) => reason)).toEqual(['truncated']);
});

const expected = { poolUuid, sequence: 6, position: 40960, epochMin: 3 };

function sampleRecord(): Uint8Array {
  const header = { kind: 1 as const, poolUuid, epoch: 3, sequence: 6, position: 40960 };
  const delta = {
    layer: 4,
    slot: 5,
    stateHi: 6,
    stateLo: 7,
    zeroMask: 3,
    releasedHi: 8,
    releasedLo: 0x90000,
  };
  const deltas = encodeDeltas([delta, { ...delta, slot: 6 }]);
  return encodeRecord(header, encodeDeltasPayload({ firstSerial: 77, deltas }));
}

test('deltas are read back', () => {
  const record = decodeRecord(sampleRecord(), expected);
  const { firstSerial, deltas } = decodeDeltasPayload(record.payload);
  const seen: object[] = [];
  forEachDelta(deltas, (delta) => seen.push({ ...delta }));
  const first = {
    layer: 4,
    slot: 5,
    stateHi: 6,
    stateLo: 7,
    zeroMask: 3,
    releasedHi: 8,
    releasedLo: 0x90000,
  };
  expect([firstSerial, ...seen]).toEqual([77, first, { ...first, slot: 6 }]);
});

test('every flipped bit of header and payload is noticed', () => {
  const record = sampleRecord();
  for (let bit = 0; bit < (64 + 8 + 64) * 8; bit++) {
    if (refusal(() => decodeRecord(flipBit(record, bit), expected)) === undefined) {
      expect.fail(`bit ${bit}`);
    }
  }
});

test('every truncation of a record is noticed', () => {
  const record = sampleRecord();
  for (let length = 0; length < 64 + 8 + 64; length++) {
    expect(refusal(() => decodeRecord(record.subarray(0, length), expected))).toBe('truncated');
  }
});

test.each([
  ['another pool', { poolUuid: otherUuid }],
  ['another sequence', { sequence: 7 }],
  ['another lap', { position: 40960 + journalBytes }],
  ['a lower epoch than before', { epochMin: 4 }],
])('a record of %s is not accepted', (_what, other) => {
  expect(refusal(() => decodeRecord(sampleRecord(), { ...expected, ...other }))).toBe(
    'not-expected',
  );
});

test('pieces of the ring cover the range in order', () => {
  expect(ringSegments(0, 8192, 16384)).toEqual([{ offset: 0, length: 8192 }]);
  expect(ringSegments(16384 + 12288, 8192, 16384)).toEqual([
    { offset: 12288, length: 4096 },
    { offset: 0, length: 4096 },
  ]);
  expect(ringSegments(12288, 4096, 16384)).toEqual([{ offset: 12288, length: 4096 }]);
});
