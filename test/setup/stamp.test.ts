// Goal: set-up repeats a step exactly when its inputs changed, its output is gone, or it failed before.
// Method: one step in a temporary folder, run as set-up runs it, in a Node of its own without any build.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { outcomeOf } from '../../tools/lib/command.ts';

const stampModule = resolve(import.meta.dirname, '../../tools/setup/stamp.mjs');
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-stamp-'));
  writeFileSync(join(folder, 'input'), 'one');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs the step once; `action` is JavaScript. @returns what it printed: whether the action ran, or `threw` */
async function step(action = `writeFileSync('output', '')`): Promise<string> {
  const program = `
    import { writeFileSync } from 'node:fs';
    import { filesBelow, whenChanged } from ${JSON.stringify(stampModule)};
    process.chdir(${JSON.stringify(folder)});
    const step = { inputs: filesBelow(['input']), outputs: ['output'], stamp: 'stamps/step' };
    console.log(whenChanged(step, () => { ${action} }));`;
  const { status, stdout } = await outcomeOf(process.execPath, [
    '--input-type=module',
    '-e',
    program,
  ]);
  return status === 0 ? stdout.trim() : 'threw';
}

test('a step runs once', async () => {
  expect([await step(), await step()]).toEqual(['true', 'false']);
});

test('a changed input repeats the step', async () => {
  await step();
  writeFileSync(join(folder, 'input'), 'two');
  expect([await step(), await step()]).toEqual(['true', 'false']);
});

test('a lost output repeats the step', async () => {
  await step();
  rmSync(join(folder, 'output'));
  expect(await step()).toBe('true');
});

test('a failed step is tried again', async () => {
  expect([await step('throw new Error()'), await step()]).toEqual(['threw', 'true']);
});
