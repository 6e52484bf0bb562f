/**
 * Tallies: what a piece of the test run found, and running a piece in the foreground.
 *
 * A piece that cannot even be built or that dies without a result counts as one failure. `names` says what failed, so that
 * the end of a long log does.
 */
import { spawnSync } from 'node:child_process';

export const nothing = { passed: 0, failed: 0, names: [] };
export const oneFailure = (name) => ({ passed: 0, failed: 1, names: [name] });

export function sum(tallies) {
  return tallies.reduce(
    (total, tally) => ({
      passed: total.passed + tally.passed,
      failed: total.failed + tally.failed,
      names: [...total.names, ...tally.names],
    }),
    nothing,
  );
}

/** Runs a command under a headline, its output on ours. @returns whether it ended with status 0 */
export function succeeds(title, command, args, env = {}) {
  process.stdout.write(`\n== ${title}\n`);
  const began = Date.now();
  const done = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  const verdict = done.status === 0 ? 'done' : `ended with ${done.status ?? done.signal}`;
  process.stdout.write(`== ${title}: ${verdict} in ${seconds} s\n`);
  return done.status === 0;
}
