/** The guest's command port itself: no command loses a part while jobs of earlier ones end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Guest } from './guest/guest.ts';

/** Three milliseconds, every half one ends. */
const jobs = '( for i in 1 2 3 4 5 6; do ( usleep $((i*500)) & ); done ) >/dev/null 2>&1 &';

test('commands arrive whole while jobs end in the background', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'varve-console-'));
  const guest = await Guest.boot({ folder, diskArguments: [] });
  try {
    for (let round = 0; round < 40; round++) {
      await guest.run(jobs);
      const word = `a-word-long-enough-to-be-cut-${round}`;
      for (let again = 0; again < 4; again++) {
        expect(await guest.run(`echo ${word}`)).toBe(`${word}\n`);
      }
    }
  } finally {
    await guest.kill();
    rmSync(folder, { recursive: true, force: true });
  }
});
