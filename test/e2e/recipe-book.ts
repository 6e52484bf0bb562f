/**
 * The recipes of docs/operations.md: shell blocks with a name behind `sh`, run as they stand there.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Outcome, outcomeOf } from '../../tools/lib/command.ts';
import type { Service } from '../../tools/lib/service.ts';

const root = resolve(import.meta.dirname, '../..');
const runMs = 120_000;

function readBook(): ReadonlyMap<string, string> {
  const text = readFileSync(join(root, 'docs/operations.md'), 'utf8');
  const blocks = [...text.matchAll(/^```sh (\S+)\n(.*?)^```$/gms)];
  return new Map(blocks.map(([, name = '', script = '']) => [name, script]));
}

const book = readBook();
const cooked = new Set<string>();

/** Runs a recipe as an operator of that service, in its folder, whatever its exit status. @param variables what the reader is to set */
export function tryRecipe(
  service: Service,
  name: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const script = book.get(name);
  if (script === undefined) throw new Error(`docs/operations.md has no recipe ${name}`);
  cooked.add(name);
  const path = `${join(root, 'tools')}:${process.env.PATH}`;
  const own = { PATH: path, VARVE_SERVER: service.address, NO_COLOR: '1' };
  const env = { ...process.env, ...own, ...variables };
  const inFolder = `cd '${service.folder}'\n${script}`;
  return outcomeOf('bash', ['-euo', 'pipefail', '-c', inFolder], { env, timeoutMs: runMs });
}

/** Runs a recipe that must succeed. @returns what it printed */
export async function cook(...order: Parameters<typeof tryRecipe>): Promise<string> {
  const { status, stdout, stderr } = await tryRecipe(...order);
  if (status !== 0) throw new Error(`recipe ${order[1]} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** Recipes that nobody has run in this process. */
export function neverCooked(): string[] {
  return [...book.keys()].filter((name) => !cooked.has(name));
}
