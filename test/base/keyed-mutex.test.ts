// Goal: works that share a key never overlap, each runs, and one that does not end stops nobody who shares no key with it.
// Method: random works on a few keys, ended in random order; what runs is compared with what may.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeyedMutex } from '../../src/base/keyed-mutex.ts';

interface Work {
  readonly keys: readonly string[];
  isRunning: boolean;
  hasEnded: boolean;
  end: () => void;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

const scopes = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 3 });

test('random works, ended in random order', async () => {
  const plan = fc.record({
    works: fc.array(scopes, { maxLength: 12 }),
    ends: fc.array(fc.nat(), { maxLength: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ works: scopesOfWorks, ends }) => {
      const mutex = new KeyedMutex();
      const works = scopesOfWorks.map((keys): Work => {
        const work: Work = { keys, isRunning: false, hasEnded: false, end: () => {} };
        void mutex.run(keys, async () => {
          work.isRunning = true;
          await new Promise<void>((resolve) => {
            work.end = resolve;
          });
          work.isRunning = false;
          work.hasEnded = true;
        });
        return work;
      });
      const running = () => works.filter(({ isRunning }) => isRunning);
      const waiting = () => works.filter(({ isRunning, hasEnded }) => !isRunning && !hasEnded);
      const expectFair = () => {
        const held = running().flatMap(({ keys }) => keys);
        expect(new Set(held).size, 'no key twice').toBe(held.length);
        for (const { keys } of waiting()) expect(keys.some((key) => held.includes(key))).toBe(true);
      };
      await turn();
      expectFair();
      for (const pick of [...ends, ...works.map(() => 0)]) {
        const at = running();
        at[pick % Math.max(1, at.length)]?.end();
        await turn();
        expectFair();
      }
      expect(works.every(({ hasEnded }) => hasEnded)).toBe(true);
    }),
  );
});

test('works of one key run in the order of asking, also behind one that failed', async () => {
  const mutex = new KeyedMutex();
  const ran: number[] = [];
  const failing = mutex.run(['a'], async () => {
    ran.push(0);
    throw new Error('it failed');
  });
  const others = [1, 2, 3].map((n) => mutex.run(['a'], async () => void ran.push(n)));
  await expect(failing).rejects.toThrow('it failed');
  await Promise.all(others);
  expect(ran).toEqual([0, 1, 2, 3]);
});
