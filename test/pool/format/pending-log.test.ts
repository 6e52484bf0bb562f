// Goal: after a kill exactly the acknowledged changes beyond the journal are found; a log of another boot, pool or
// life gives nothing.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { uuidBytes } from '../../../src/pool/format/bytes.ts';
import { readPendingLog } from '../../../src/pool/format/pending-log.ts';
import { otherUuid, poolUuid } from './samples.ts';

const bootId = '11111111-2222-3333-4444-555555555555';
const expectation = { poolUuid, epoch: 4, bootId, durableSerial: 0 };

function header(capacity: number, durableSerial: number): Buffer {
  const bytes = Buffer.alloc(4096 + capacity * 40);
  bytes.write('VARVEPND', 0, 'latin1');
  bytes.writeUInt32LE(1, 8);
  bytes.set(uuidBytes(poolUuid), 16);
  bytes.writeBigUInt64LE(4n, 32);
  bytes.writeBigUInt64LE(BigInt(capacity), 40);
  bytes.writeBigUInt64LE(BigInt(durableSerial), 48);
  bytes.write(bootId, 56, 'latin1');
  return bytes;
}

function put(log: Buffer, capacity: number, serial: number): void {
  const at = 4096 + (serial % capacity) * 40;
  log.writeBigUInt64LE(BigInt(serial), at);
  log.fill(serial & 0xff, at + 8, at + 40);
}

function firstBytes(log: Uint8Array, durableSerial = 0): number[] | string {
  const read = readPendingLog(log, { ...expectation, durableSerial });
  if ('invalid' in read) return read.invalid;
  return Array.from({ length: read.deltas.length / 32 }, (_, i) => read.deltas[i * 32] as number);
}

test('what is above both durable serials counts, in order, round the ring', () => {
  const capacity = 16;
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 200 }),
      fc.integer({ min: 0, max: 15 }),
      fc.integer({ min: 0, max: 15 }),
      (written, headerLag, journalLag) => {
        const inHeader = Math.max(0, written - headerLag);
        const inJournal = Math.max(0, written - journalLag);
        const log = header(capacity, inHeader);
        for (let serial = 1; serial <= written; serial++) put(log, capacity, serial);
        const floor = Math.max(inHeader, inJournal);
        const expected = Array.from({ length: written - floor }, (_, i) => floor + 1 + i);
        expect(firstBytes(log, inJournal)).toEqual(expected);
        expect(readPendingLog(log, { ...expectation, durableSerial: inJournal })).toMatchObject({
          lastSerial: written,
        });
      },
    ),
  );
});

test('an entry whose writer died inside it is left out, those behind it count', () => {
  const log = header(8, 2);
  for (const serial of [1, 2, 3, 5]) put(log, 8, serial);
  expect(firstBytes(log)).toEqual([3, 5]);
});

test('a serial in a place that is not its own does not count', () => {
  const log = header(8, 0);
  put(log, 8, 1);
  log.writeBigUInt64LE(3n, 4096 + 2 * 40);
  log.writeBigUInt64LE(2n ** 63n, 4096 + 4 * 40);
  expect(firstBytes(log)).toEqual([1]);
});

test.each<[string, (log: Buffer) => Buffer]>([
  ['shorter', (log) => log.subarray(0, 4095)],
  ['no pending log', (log) => log.fill(0, 0, 8)],
  ['version', (log) => log.fill(2, 8, 9)],
  [
    'another pool',
    (log) => Buffer.concat([log.subarray(0, 16), uuidBytes(otherUuid), log.subarray(32)]),
  ],
  ['epoch', (log) => log.fill(5, 32, 33)],
  ['restarted', (log) => log.fill('9', 56, 57)],
  ['capacity', (log) => log.subarray(0, log.length - 1)],
  ['capacity', (log) => log.fill(0, 40, 48)],
  ['durable serial', (log) => log.fill(0xff, 48, 56)],
])('a log is refused: %s', (words, hurt) => {
  const log = header(8, 0);
  put(log, 8, 1);
  expect(firstBytes(hurt(log))).toContain(words);
});
