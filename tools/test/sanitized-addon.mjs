/**
 * The addon under AddressSanitizer and UndefinedBehaviorSanitizer, below tests in JavaScript that open, fail and close what the data plane has:
 * who still names what is gone is found in no native test. What a sanitizer reports ends vitest's worker, which is a failure.
 */
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { headers } from '../setup/build.mjs';
import { oneFailure, succeeds } from './tally.mjs';
import { runVitest } from './vitest.mjs';

const title = 'addon asan';
const tests = ['test/dataplane', 'test/faults', 'test/pool/faults', 'test/pool/lost-replica'];

export function runSanitizedAddon() {
  const make = ['-C', 'native', 'VARIANT=asan', '-j2', '--silent', 'addon'];
  const built = succeeds(`${title}: build`, 'make', make, {
    NODE_INCLUDE: `${headers()}/include/node`,
  });
  if (!built) return oneFailure(`${title}: build`);
  return runVitest(['--project', 'unit', ...tests], { title, env: sanitized() });
}

function sanitized() {
  const runtime = spawnSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  return {
    VARVE_ADDON: resolve('build/native/asan/varve.node'),
    LD_PRELOAD: runtime.stdout.trim(),
    // Node itself leaves what it has to the kernel.
    ASAN_OPTIONS: 'detect_leaks=0',
  };
}
