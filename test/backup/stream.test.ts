// Goal: a backup stream is read as it was written, or refused: whatever was flipped, cut, repeated, moved, or comes from another stream.
// Method: random pieces through writer and reader; then every byte flipped, every cut, every exchange of frames, frames of others, random bytes.
//   Replay: FUZZ_SEED=n. More: FUZZ_RUNS=n.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeHeader } from '../../src/backup/format.ts';
import type { Piece } from '../../src/backup/piece.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { runs } from '../fuzz/runs.ts';
import { framesOf, header, read, verdict } from './byte-streams.ts';

const sizeBytes = 4 * MiB;

/** Ascending, with or without something between them. */
const pieces = fc
  .array(
    fc.record({
      gap: fc.constantFrom(0, 0, 512, 64 * KiB),
      length: fc.constantFrom(512, 4096, 5120, 64 * KiB),
      fill: fc.option(fc.integer({ min: 1, max: 255 })),
    }),
    { maxLength: 30 },
  )
  .map((steps) => {
    let offset = 0;
    return steps.map(({ gap, length, fill }): Piece => {
      offset += gap;
      const piece = { offset, length, bytes: fill === null ? null : Buffer.alloc(length, fill) };
      offset += length;
      return piece;
    });
  });

/** Touching zero ranges are one. */
function merged(all: readonly Piece[]): Piece[] {
  const result: Piece[] = [];
  for (const piece of all) {
    const last = result.at(-1);
    const touches = last !== undefined && last.offset + last.length === piece.offset;
    if (touches && last.bytes === null && piece.bytes === null) {
      result[result.length - 1] = { ...last, length: last.length + piece.length };
    } else result.push(piece);
  }
  return result;
}

function plain(all: readonly Piece[]) {
  return all.map(({ bytes, ...rest }) => ({
    ...rest,
    bytes: bytes === null ? null : Buffer.from(bytes).toString('base64'),
  }));
}

const small: readonly Piece[] = [
  { offset: 0, length: 512, bytes: Buffer.alloc(512, 1) },
  { offset: 4096, length: 8192, bytes: null },
  { offset: 16 * KiB, length: 512, bytes: Buffer.alloc(512, 2) },
  { offset: 32 * KiB, length: 512, bytes: Buffer.alloc(512, 2) },
];

test('what was written is read', async () => {
  await fc.assert(
    fc.asyncProperty(pieces, async (written) => {
      const of = header(sizeBytes);
      const found = await read(Buffer.concat(framesOf(of, written)));
      expect(found.header).toEqual(of);
      expect(plain(found.pieces)).toEqual(plain(merged(written)));
    }),
    runs(100),
  );
});

test('no stream with a flipped bit is accepted', async () => {
  const stream = Buffer.concat(framesOf(header(sizeBytes), small));
  for (let at = 0; at < stream.length; at++) {
    const flipped = Buffer.from(stream);
    flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
    expect(await verdict(flipped), `byte ${at}`).toMatch(/^backup\/(damaged|format|cut)$/);
  }
});

test('a stream that is cut anywhere is cut', async () => {
  const stream = Buffer.concat(framesOf(header(sizeBytes), small));
  for (let length = 0; length < stream.length; length++) {
    expect(await verdict(stream.subarray(0, length)), `${length} bytes`).toBe('backup/cut');
  }
});

test('frames that are repeated, left out or exchanged are refused', async () => {
  const frames = framesOf(header(sizeBytes), small);
  for (let at = 1; at < frames.length; at++) {
    const frame = frames[at] as Buffer;
    const without = frames.filter((_, index) => index !== at);
    const repeated = frames.toSpliced(at, 0, frame);
    const isEnd = at === frames.length - 1;
    expect(await verdict(Buffer.concat(without))).toBe(isEnd ? 'backup/cut' : 'backup/damaged');
    expect(await verdict(Buffer.concat(repeated))).toBe('backup/damaged');
    for (let to = at + 1; to < frames.length; to++) {
      const exchanged = frames.with(at, frames[to] as Buffer).with(to, frame);
      expect(await verdict(Buffer.concat(exchanged)), `${at}, ${to}`).toBe('backup/damaged');
    }
  }
});

test('frames of another stream, and a second stream behind the first, are refused', async () => {
  const [here, there] = ['s', 't'].map((name) => framesOf(header(sizeBytes, name), small));
  for (let at = 1; at < (here as Buffer[]).length; at++) {
    const mixed = (here as Buffer[]).with(at, (there as Buffer[])[at] as Buffer);
    expect(await verdict(Buffer.concat(mixed)), `frame ${at}`).toBe('backup/damaged');
  }
  const twice = [...(here as Buffer[]), ...(here as Buffer[])];
  expect(await verdict(Buffer.concat(twice))).toBe('backup/damaged');
});

test('the same content in fewer frames is not what the end tells of', async () => {
  const whole = framesOf(header(sizeBytes), small);
  const less = framesOf(header(sizeBytes), small.slice(1));
  const end = whole.at(-1) as Buffer;
  expect(await verdict(Buffer.concat([...less.slice(0, -1), end]))).toBe('backup/damaged');
});

test('a frame of the same stream as it was sent another time is not what the end tells of', async () => {
  const other = [{ offset: 0, length: 512, bytes: Buffer.alloc(512, 3) }, ...small.slice(1)];
  const [once, again] = [small, other].map((sent) => framesOf(header(sizeBytes), sent));
  const mixed = (once as Buffer[]).with(1, (again as Buffer[])[1] as Buffer);
  expect(await verdict(Buffer.concat(mixed))).toBe('backup/damaged');
});

test('a later version, and what is no stream, are refused as such', async () => {
  const stream = Buffer.concat(framesOf(header(sizeBytes), small));
  stream.writeUInt32LE(2, 8);
  expect(await verdict(stream)).toBe('backup/format');
  expect(await verdict(Buffer.alloc(4096, 'x'))).toBe('backup/format');
});

test('frames beyond the end, or over what was told, are refused', async () => {
  const beyond = { offset: sizeBytes - 512, length: 1024, bytes: null };
  const back = { offset: 0, length: 512, bytes: Buffer.alloc(512) };
  const tooLong = { offset: 0, length: 2 * MiB, bytes: Buffer.alloc(2 * MiB) };
  for (const wrong of [[beyond], [...small, back], [tooLong]]) {
    const stream = Buffer.concat(framesOf(header(sizeBytes), wrong));
    expect(await verdict(stream)).toBe('backup/damaged');
  }
});

test('whatever the header says, nothing worse than a refusal comes of it', async () => {
  const near = fc.letrec((tie) => ({
    value: fc.oneof(
      fc.constant(header(sizeBytes)),
      fc.jsonValue(),
      fc.record({
        origin: fc.oneof(fc.constant(header(sizeBytes).origin), fc.jsonValue()),
        snapshot: fc.oneof(
          fc.dictionary(
            fc.constantFrom('uuid', 'name', 'sizeBytes', 'createdAt', 'consistency', 'labels'),
            fc.oneof(fc.constantFrom('crash', sizeBytes, -1), tie('value')),
          ),
          fc.constant(header(sizeBytes).snapshot),
        ),
        base: fc.jsonValue(),
      }),
    ),
  })).value;
  await fc.assert(
    fc.asyncProperty(near, async (document) => {
      const { bytes } = encodeHeader(JSON.stringify(document));
      expect(await verdict(bytes)).toMatch(/^backup\/(damaged|cut)$/);
    }),
    runs(200),
  );
});

test('random bytes behind a header are refused', async () => {
  const frames = framesOf(header(sizeBytes), small);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(frames.length - 1),
      fc.uint8Array({ maxLength: 400 }),
      async (count, bytes) => {
        const stream = Buffer.concat([...frames.slice(0, count), bytes]);
        expect(await verdict(stream)).toMatch(/^backup\/(damaged|cut|format)$/);
      },
    ),
    runs(300),
  );
});
