/**
 * Scratch trees: copies of the sources and of what was built from them, so that a mutation costs the build of what it
 * touches and never reaches the tree that people work in.
 *
 *   pristine    copied from the tree once, brought up to date
 *   mutant      a copy of pristine for one mutation, times of files included, because make decides by them
 */
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Ended, runBounded } from './bounded.ts';
import type { Mutation, NamedTest } from './mutation.ts';

const copied = [
  'package.json',
  'tsconfig.json',
  'tsconfig.test.json',
  'vitest.config.ts',
  'binding.gyp',
  'native',
  'src',
  'test',
  'tools',
  'build/Makefile',
  'build/binding.Makefile',
  'build/config.gypi',
  'build/dataplane.target.mk',
  'build/varve.target.mk',
  'build/Release',
  'build/native/plain',
];
const buildSecondsMax = 600;
/** Of one test; on a busy machine the slowest take half of it without a mutation. */
const testSecondsMax = 180;
/** Tests that choose at random do so in the same way every time. */
const testEnvironment = { SEED: '7' };

export class Scratch {
  readonly #folder: string;
  readonly #pristine: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#pristine = join(folder, 'pristine');
  }

  static of(tree: string): Scratch {
    const scratch = new Scratch(mkdtempSync(join(tmpdir(), 'varve-mutate-')));
    for (const path of copied.filter((path) => existsSync(join(tree, path)))) {
      copy(join(tree, path), join(scratch.#pristine, path));
    }
    symlinkSync(join(tree, 'node_modules'), join(scratch.#pristine, 'node_modules'));
    return scratch;
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Runs a test without any mutation. @throws Error it cannot be built */
  async runPristine(test: NamedTest): Promise<Ended> {
    await buildFor(test, this.#pristine, true);
    return runTest(test, this.#pristine);
  }

  /** @throws Error the patch does not apply, or what it leaves cannot be built */
  async runMutant(mutation: Mutation, test: NamedTest): Promise<Ended> {
    const mutant = join(this.#folder, 'mutant');
    rmSync(mutant, { recursive: true, force: true });
    copy(this.#pristine, mutant);
    await expectDone('git', ['apply', mutation.path], mutant);
    await buildFor(test, mutant, mutation.changesNative);
    return runTest(test, mutant);
  }
}

function copy(source: string, target: string): void {
  cpSync(source, target, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
}

async function buildFor(test: NamedTest, tree: string, nativeChanged: boolean): Promise<void> {
  if (test.kind === 'native') {
    const program = `../${nativeTest(test)}`;
    await expectDone('make', ['--no-print-directory', '-C', 'native', '-j2', program], tree);
  } else if (nativeChanged) {
    // node-gyp's Makefile would be made anew (-o: it is not) for the sake of paths that lead nowhere from here.
    await expectDone('make', ['-C', 'build', '-j2', '-o', 'Makefile', 'BUILDTYPE=Release'], tree);
  }
}

async function expectDone(command: string, args: readonly string[], cwd: string): Promise<void> {
  const { verdict, output } = await runBounded(command, args, { cwd, secondsMax: buildSecondsMax });
  if (verdict !== 'passed') throw new Error(`${command} ${args.join(' ')} ${verdict}\n${output}`);
}

function nativeTest({ args }: NamedTest): string {
  return `build/native/plain/${args[0]}_test`;
}

function runTest(test: NamedTest, cwd: string): Promise<Ended> {
  const bounds = { cwd, secondsMax: testSecondsMax, env: testEnvironment };
  switch (test.kind) {
    case 'native':
      return runBounded(nativeTest(test), ['--gtest_brief=1', ...test.args.slice(1)], bounds);
    case 'vitest':
      return runBounded('node_modules/.bin/vitest', ['run', ...test.args], bounds);
    case 'explore':
    case 'simulate':
      return runBounded(
        'node_modules/.bin/tsx',
        [`tools/${test.kind}/main.ts`, ...test.args],
        bounds,
      );
  }
}
