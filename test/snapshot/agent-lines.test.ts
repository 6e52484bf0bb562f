// Goal: whatever the stream's chunks, the same messages come out; what is none does no harm, and memory is bounded.
// Method: streams of messages, noise and delimiters cut at arbitrary places, against the stream as one chunk and against the messages put in.
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import {
  AgentLines,
  type AgentMessage,
  delimiter,
  isObject,
} from '../../src/snapshot/agent-lines.ts';

const lineBytesMax = 64 * 1024;

function pushAll(chunks: readonly Buffer[]): AgentMessage[] {
  const lines = new AgentLines();
  return chunks.flatMap((chunk) => lines.push(chunk));
}

/** Cuts at the places given, in any order. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort(
    (a, b) => a - b,
  );
  return [0, ...ends].map((start, at) => bytes.subarray(start, ends[at] ?? bytes.length));
}

const message = (content: object): Buffer => Buffer.from(`${JSON.stringify(content)}\n`);
const mark = Buffer.of(delimiter);

/** Pieces of a stream, with the message that each should give. */
const piece = fc.oneof(
  fc.record({ return: fc.oneof(fc.integer(), fc.string({ unit: 'grapheme' })) }).map((content) => ({
    bytes: message(content),
    messages: [{ delimited: false, content }],
  })),
  fc.record({ return: fc.integer() }).map((content) => ({
    bytes: Buffer.concat([Buffer.from('{"half": '), mark, message(content)]),
    messages: [{ delimited: true, content }],
  })),
  fc
    .constantFrom('', 'no JSON', '[1]', 'null', '7', '"text"', '{"a":1}{"b":2}', '{"cut')
    .map((text) => ({ bytes: Buffer.from(`${text}\n`), messages: [] })),
);

test('any cutting of a stream gives its messages', () => {
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat()), (pieces, places) => {
      const stream = Buffer.concat(pieces.map(({ bytes }) => bytes));
      const wanted = pieces.flatMap(({ messages }) => messages);
      expect(pushAll(cut(stream, places))).toEqual(wanted);
    }),
  );
});

test('byte by byte, also within a character', () => {
  const stream = Buffer.concat([mark, message({ desc: 'größer → 🧊' })]);
  const bytes = [...stream].map((byte) => Buffer.of(byte));
  expect(pushAll(bytes)).toEqual([{ delimited: true, content: { desc: 'größer → 🧊' } }]);
});

describe('the delimiter', () => {
  test('marks the next line only, and drops what stood before it', () => {
    const stream = Buffer.concat([
      message({ a: 1 }),
      Buffer.from('{"b": 2}'),
      mark,
      message({ c: 3 }),
      message({ d: 4 }),
    ]);
    expect(pushAll([stream])).toEqual([
      { delimited: false, content: { a: 1 } },
      { delimited: true, content: { c: 3 } },
      { delimited: false, content: { d: 4 } },
    ]);
  });

  test('several are one; with nothing behind it there is no message', () => {
    expect(pushAll([mark, mark, message({ a: 1 })])).toEqual([
      { delimited: true, content: { a: 1 } },
    ]);
    expect(pushAll([mark, Buffer.from('\n'), message({ a: 1 })])).toEqual([
      { delimited: false, content: { a: 1 } },
    ]);
  });
});

describe('a line', () => {
  const ofBytes = (bytes: number) => message({ a: 'x'.repeat(bytes - '{"a":""}'.length) });

  test('of the greatest length is a message, one byte more is not, nor does it hide the next', () => {
    const [longest, tooLong] = [ofBytes(lineBytesMax), ofBytes(lineBytesMax + 1)];
    expect(longest).toHaveLength(lineBytesMax + 1);
    expect(pushAll([longest])).toHaveLength(1);
    const chunks = cut(Buffer.concat([tooLong, message({ b: 1 })]), [1000, 40_000, 65_000]);
    expect(pushAll(chunks)).toEqual([{ delimited: false, content: { b: 1 } }]);
  });

  test('without an end is not kept', () => {
    const concat = vi.spyOn(Buffer, 'concat');
    const lines = new AgentLines();
    for (let chunk = 0; chunk < 100; chunk++) lines.push(Buffer.alloc(1000, 'x'));
    lines.push(Buffer.from('\n'));
    const [[pieces]] = concat.mock.calls as [[readonly Buffer[]]];
    concat.mockRestore();
    expect(pieces).toEqual([]);
    expect(lines.push(message({ a: 1 }))).toHaveLength(1);
  });

  test('that was too long does not end in a message that its tail looks like', () => {
    const tail = Buffer.from('{"return": 1}\n');
    expect(pushAll([Buffer.alloc(lineBytesMax + 1, ' '), tail])).toEqual([]);
  });
});

test.each([
  [{}, true],
  [[], false],
  [null, false],
  ['x', false],
  [undefined, false],
])('%j as an object: %j', (value, wanted) => {
  expect(isObject(value)).toBe(wanted);
});
