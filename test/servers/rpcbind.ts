/**
 * rpcbind, without which nfs-ganesha does not run: one for all test files of a run, started by the first that needs it when the system has
 * none, and stopped when the run ends. The system's own is left alone.
 *
 * Vitest calls `setup` before the first test file and `teardown` behind the last, in its own process (vitest.config.ts, globalSetup).
 */
import { spawn } from 'node:child_process';
import { appendFile, mkdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { listens } from './ports.ts';

const port = 111;
const startPatienceMs = 10_000;
/** Names the file with the ids of those that this run has started; inherited by the processes that run test files. */
const listVariable = 'VARVE_TEST_RPCBINDS';

export function setup(): void {
  process.env[listVariable] ??= join(tmpdir(), `varve-rpcbind-${process.pid}`);
}

export async function teardown(): Promise<void> {
  const list = process.env[listVariable];
  if (list === undefined) return;
  const ids = await readFile(list, 'utf8').catch(() => '');
  for (const id of ids.split('\n').filter((line) => line !== '')) await stop(Number(id));
  await rm(list, { force: true });
}

/** Resolves when one answers. */
export async function ensureRpcbind(): Promise<void> {
  if (await listens(port)) return;
  await mkdir('/run/rpcbind', { recursive: true });
  const started = spawn('rpcbind', ['-i', '-f'], { detached: true, stdio: 'ignore' });
  let failure: Error | undefined;
  started.once('error', (error) => {
    failure = error;
  });
  started.unref();
  const list = process.env[listVariable];
  if (list !== undefined && started.pid !== undefined) await appendFile(list, `${started.pid}\n`);
  const giveUpAt = performance.now() + startPatienceMs;
  while (!(await listens(port))) {
    if (failure !== undefined) throw new Error(`apt-get install rpcbind: ${failure.message}`);
    if (performance.now() > giveUpAt) throw new Error('rpcbind does not answer (it needs root)');
    await setTimeout(20);
  }
}

/** Of two that were started at once one has ended by itself, and its id may be another program's now. */
async function stop(id: number): Promise<void> {
  const name = await readFile(`/proc/${id}/comm`, 'utf8').catch(() => '');
  if (name.trim() === 'rpcbind') process.kill(id, 'SIGTERM');
}
