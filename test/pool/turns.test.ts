// Goal: a piece of background work is as large as it likes when nobody is there, and small beside guests and at a low rate; work that is paused, or has
//   ended, takes no more turns.
// Method: a governor of the test's own, real pace.
import { expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import type { Governor } from '../../src/pool/governor.ts';
import { Turns } from '../../src/pool/turns.ts';

/** Of a governor that lets each piece have so many bytes. */
function turns(bytesPerTurn: number, rateBytes?: number, whileRunning = async () => {}) {
  const ran: number[] = [];
  const governor = {
    bytesPerTurn,
    run: async (work: () => Promise<number>) => {
      const bytes = await work();
      ran.push(bytes);
      return bytes;
    },
  } as unknown as Governor;
  return { turns: new Turns(governor, { rateBytes, whileRunning }), ran };
}

test('a piece is as large as guests bear, and worth a quarter of a second at the rate', () => {
  const { POSITIVE_INFINITY: free } = Number;
  expect(turns(free).turns.pieceBytes(8 * MiB)).toBe(8 * MiB);
  expect(turns(2.5 * MiB).turns.pieceBytes(8 * MiB)).toBe(2.5 * MiB);
  expect(turns(2.5 * MiB).turns.pieceBytes(MiB)).toBe(MiB);
  expect(turns(free, 4 * MiB).turns.pieceBytes(8 * MiB)).toBe(MiB);
  expect(turns(250 * KiB).turns.pieceBytes(8 * MiB)).toBe(192 * KiB);
  expect(turns(free, 1).turns.pieceBytes(8 * MiB)).toBe(64 * KiB);
});

test('the governor is told what was moved; whoever is to stop gets no turn', async () => {
  const { turns: going, ran } = turns(MiB);
  await going.before(5);
  expect(await going.take(5, async () => 'done')).toBe('done');
  expect(ran).toEqual([5]);
  const { turns: stopped } = turns(MiB, undefined, async () => {
    throw new Error('cancelled');
  });
  await expect(stopped.before(5)).rejects.toThrow('cancelled');
});
