/**
 * A mutation: one small patch that breaks one promise, and the tests that have to notice.
 *
 *   Rule: 3                       invariant of docs/reliability.md; `-` for a promise beside the eight
 *   Breaks: what goes wrong, in one sentence
 *   Test: native journal --gtest_filter=…      native/test/journal_test.cc
 *   Test: vitest test/pool/fence.test.ts
 *   Test: explore --states 200 --from 1       power cuts, see tools/explore
 *   Test: simulate --seeds 20 --from 1        simulated lives, see tools/simulate
 *
 *   --- a/native/…                the patch
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface NamedTest {
  readonly kind: 'native' | 'vitest' | 'explore' | 'simulate';
  readonly args: readonly string[];
}

export interface Mutation {
  readonly name: string;
  readonly path: string;
  readonly rule: string;
  readonly breaks: string;
  readonly tests: readonly NamedTest[];
  /** The addon has to be built anew. */
  readonly changesNative: boolean;
}

/**
 * The mutations of a folder in the order of their names.
 *
 * @param wanted rules or beginnings of names; none means all
 * @throws Error a patch without rule, sentence or test, or a wish that means none
 */
export function readMutations(folder: string, wanted: readonly string[]): Mutation[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.patch'));
  const all = files.sort().map((file) => readMutation(folder, file));
  for (const wish of wanted) {
    if (!all.some((mutation) => isMeant(mutation, wish))) throw new Error(`no mutation ${wish}`);
  }
  if (wanted.length === 0) return all;
  return all.filter((mutation) => wanted.some((wish) => isMeant(mutation, wish)));
}

function isMeant({ name, rule }: Mutation, wish: string): boolean {
  return rule === wish || name.startsWith(wish);
}

function readMutation(folder: string, file: string): Mutation {
  const path = join(folder, file);
  const text = readFileSync(path, 'utf8');
  const fields = (label: string) =>
    [...text.matchAll(new RegExp(`^${label}: (.+)$`, 'gm'))].map((match) => match[1] as string);
  const [rule] = fields('Rule');
  const [breaks] = fields('Breaks');
  const tests = fields('Test').map(parseTest);
  if (rule === undefined || breaks === undefined || tests.length === 0) {
    throw new Error(`${file} lacks Rule, Breaks or Test`);
  }
  const changesNative = /^\+\+\+ b\/native\//m.test(text);
  return { name: file.replace(/\.patch$/, ''), path, rule, breaks, tests, changesNative };
}

function parseTest(line: string): NamedTest {
  const [kind, ...args] = line.split(' ');
  if (isKind(kind)) return { kind, args };
  throw new Error(`no kind of test: ${line}`);
}

function isKind(kind: string | undefined): kind is NamedTest['kind'] {
  return ['native', 'vitest', 'explore', 'simulate'].includes(kind ?? '');
}

export function describeTest({ kind, args }: NamedTest): string {
  return [kind, ...args].join(' ');
}
