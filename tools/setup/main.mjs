/**
 * Set-up: makes a fresh Debian 12 machine able to run varve; with `--test`, to test it as well.
 *
 *   node tools/setup/main.mjs [--test]
 *
 * Idempotent, asks nothing, says what it does; a run that finds everything in place says nothing and
 * takes well under a second. Root (or sudo without a password) is needed only to install missing packages.
 */
import { fileURLToPath } from 'node:url';
import { buildAddon, buildTypeScript, installDependencies } from './build.mjs';
import { fetchGuestKernel } from './guest-kernel.mjs';
import { installPackages, runtimePackages, testPackages } from './packages.mjs';
import { SetupError } from './report.mjs';

/**
 * Everything that `npm start` needs; for tests also their tools and the guest's kernel.
 *
 * @throws SetupError with what is missing and how to get it
 */
export function setUp(options = { test: false }) {
  process.chdir(fileURLToPath(new URL('../..', import.meta.url)));
  installPackages(options.test ? [...runtimePackages, ...testPackages] : runtimePackages);
  if (options.test) fetchGuestKernel();
  installDependencies();
  buildAddon();
  buildTypeScript();
}

/** Runs `step`; a SetupError becomes a message and exit status 1, never a stack trace. */
export function orExplain(step) {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`error: set-up: ${error.message}\n`);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  orExplain(() => setUp({ test: process.argv.includes('--test') }));
}
