/**
 * Builds: dependencies (npm ci), the native addon (node-gyp), the service and command (esbuild).
 *
 * Each is a step of stamp.mjs, so a second run only hashes the sources (about 0.1 s).
 */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run, SetupError, say } from './report.mjs';
import { filesBelow, whenChanged } from './stamp.mjs';

// The addon and some packages' binaries belong to one Node ABI.
const node = `${process.version} ${process.arch} ${process.versions.modules}`;

export function installDependencies() {
  const step = {
    inputs: ['package-lock.json'],
    extra: node,
    outputs: ['node_modules/.package-lock.json'],
    // Inside, so that whoever deletes the folder deletes the stamp.
    stamp: 'node_modules/.varve-stamp',
  };
  whenChanged(step, () => {
    say('installing npm packages');
    run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  });
}

export function buildAddon() {
  const sources = filesBelow(
    ['native'],
    (file) => /\.(cc|h)$/.test(file) && !file.startsWith('native/test/'),
  );
  const step = {
    inputs: ['binding.gyp', 'package-lock.json', ...sources],
    extra: node,
    outputs: ['build/Release/varve.node'],
    stamp: 'build/.addon-stamp',
  };
  whenChanged(step, () => {
    say('building the native addon');
    // Not `rebuild`: that would delete build/native, the native tests' objects, too.
    const flags = ['configure', 'build', '--loglevel=error', '--jobs=2', `--nodedir=${headers()}`];
    run('node_modules/.bin/node-gyp', flags);
  });
}

/** Where this Node's own headers are; node-gyp would otherwise download them. */
export function headers() {
  const prefixes = [dirname(dirname(process.execPath)), '/usr', '/usr/local'];
  const found = prefixes.find((prefix) => existsSync(join(prefix, 'include/node/node_api.h')));
  if (found !== undefined) return found;
  throw new SetupError(
    `no Node headers (include/node/node_api.h) in ${prefixes.join(', ')}.\n` +
      '  try: install Node from nodejs.org or NodeSource, whose packages carry them, or Debian package libnode-dev',
  );
}

/**
 * A few files instead of a thousand, the libraries' among them: what is loaded by itself is one. Guests wait while a service starts, and most of
 * that time went into finding, reading and linking single modules, which take memory for as long as the service lives, as comments do. Names
 * stay, for stack traces. `level` has a native part, which it looks for beside itself. Types are for `npm run lint`.
 */
const bundling = [
  'src/cli/main.ts',
  ...['--bundle', '--splitting', '--format=esm', '--platform=node', '--target=node20'],
  ...['--minify-whitespace', '--minify-syntax', '--line-limit=200', '--external:level'],
  // For libraries that are CommonJS.
  "--banner:js=import{createRequire as _createRequire}from'node:module';const require=_createRequire(import.meta.url);",
  // As deep below the package as their sources are: files beside them are found by relative paths.
  ...['--outdir=dist/cli', '--chunk-names=part-[hash]', '--sourcemap'],
  '--log-level=warning',
];

export function buildTypeScript() {
  const step = {
    inputs: ['tsconfig.json', 'package-lock.json', ...filesBelow(['src'])],
    extra: `${node} ${bundling.join(' ')}`,
    outputs: ['dist/cli/main.js'],
    stamp: 'dist/.stamp',
  };
  whenChanged(step, () => {
    say('compiling TypeScript');
    rmSync('dist', { recursive: true, force: true });
    run('node_modules/.bin/esbuild', bundling);
  });
}
