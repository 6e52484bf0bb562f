// Goal: whatever bytes a disk gives, a decoder answers with a value or a FormatError, and never with anything else.
// Method: random bytes, and sound structures with random bytes planted and resealed, so that they get past the hash.
import fc from 'fast-check';
import { test } from 'vitest';
import { decodeBatch, encodeBatch } from '../../../src/pool/format/batch.ts';
import { readCheckpoint } from '../../../src/pool/format/checkpoint-codec.ts';
import { forEachDelta } from '../../../src/pool/format/delta.ts';
import { FormatError } from '../../../src/pool/format/format-error.ts';
import { xxh64WithoutField } from '../../../src/pool/format/hash.ts';
import { leafKey, openValue, parseIndexKey } from '../../../src/pool/format/index-keys.ts';
import {
  decodeDeltasPayload,
  decodeRecord,
  encodeRecord,
} from '../../../src/pool/format/journal-record.ts';
import { decodeLabel, encodeLabel } from '../../../src/pool/format/label.ts';
import { decodeLeaf, leafEntries } from '../../../src/pool/format/leaf.ts';
import { readPendingLog } from '../../../src/pool/format/pending-log.ts';
import { SlotStates } from '../../../src/pool/format/slot-states.ts';
import { poolUuid, refusal, sampleLabel } from './samples.ts';

const expected = { poolUuid, sequence: 6, position: 40960, epochMin: 0 };
const header = { kind: 2 as const, poolUuid, epoch: 3, sequence: 6, position: 40960 };
const batch = encodeBatch([
  { op: 'put', key: leafKey(1, 1), value: new Uint8Array(9) },
  { op: 'release', disk: 1, firstCluster: 5, count: 9 },
]);

type Plants = readonly (readonly [at: number, byte: number])[];
const plants = fc.array(fc.tuple(fc.nat(4095), fc.integer({ min: 0, max: 255 })), { maxLength: 6 });

function planted(sound: Uint8Array, changes: Plants): Uint8Array {
  const bytes = sound.slice();
  for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
  return bytes;
}

function resealed(bytes: Uint8Array, hashAt: number, end: number): Uint8Array {
  const hash = xxh64WithoutField(bytes.subarray(0, end), hashAt);
  Buffer.from(bytes.buffer).writeBigUInt64LE(hash, hashAt);
  return bytes;
}

const decoders: Record<string, (bytes: Uint8Array) => unknown> = {
  label: decodeLabel,
  batch: decodeBatch,
  key: parseIndexKey,
  record: (bytes) => decodeRecord(bytes, expected),
  deltas: (bytes) => forEachDelta(decodeDeltasPayload(bytes).deltas, () => {}),
  leaf: (bytes) => decodeLeaf(bytes, new SlotStates(64)),
  'leaf entries': (bytes) => [...leafEntries(bytes)],
  'sealed value': (bytes) => openValue(leafKey(1, 1), bytes),
  'pending log': (bytes) =>
    readPendingLog(bytes, { poolUuid, epoch: 1, bootId: '', durableSerial: 0 }),
};

test.each(Object.entries(decoders))('%s: random bytes', (_name, decode) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      refusal(() => decode(bytes));
    }),
  );
});

test('label: planted bytes under a fitting hash', () => {
  const sound = encodeLabel(sampleLabel());
  fc.assert(
    fc.property(plants, (changes) => {
      const bytes = resealed(planted(sound, changes), 40, 4096);
      refusal(() => encodeLabel(decodeLabel(bytes)));
    }),
    { numRuns: 500 },
  );
});

test('record and batch: planted bytes under a fitting hash', () => {
  const sound = encodeRecord(header, batch);
  const end = 64 + batch.length;
  fc.assert(
    fc.property(plants, (changes) => {
      const small = changes.map(([at, byte]) => [at % end, byte] as const);
      const bytes = resealed(planted(sound, small), 56, end);
      refusal(() => decodeBatch(decodeRecord(bytes, expected).payload));
    }),
    { numRuns: 500 },
  );
});

test('checkpoint: random clusters', async () => {
  const label = sampleLabel();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
      try {
        for await (const _ of readCheckpoint(async () => bytes, label));
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
      }
    }),
  );
});
