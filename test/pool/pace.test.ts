// Goal: work goes at its rate, and who ends it waits for no rest of it.
// Method: waits of days.
import { expect, test } from 'vitest';
import { Pace } from '../../src/pool/pace.ts';

const elevenDays = 1e6;

test('a wait that is ended early ends with the reason', async () => {
  const stopping = new AbortController();
  const whileRunning = async () => {
    if (stopping.signal.aborted) throw new Error('stopped');
  };
  const pace = new Pace({ rateBytes: 1, whileRunning, signal: stopping.signal });
  await pace.before(elevenDays);
  const waiting = expect(pace.before(1)).rejects.toThrow('stopped');
  await new Promise((resolve) => setImmediate(resolve));
  stopping.abort();
  await waiting;
});
