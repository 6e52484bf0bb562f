/**
 * Worker processes that explore lives side by side: the addon has one data plane in a process, and JavaScript one thread.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LifeOptions, LifeReport } from './explore-life.ts';

const program = fileURLToPath(new URL('./worker.ts', import.meta.url));

export class Worker {
  readonly #child: ChildProcess = fork(program, {
    execArgv: ['--import', 'tsx'],
    serialization: 'advanced',
  });

  /** @throws Error the process died over it */
  async explore(life: LifeOptions): Promise<LifeReport> {
    const ended = new AbortController();
    const { signal } = ended;
    try {
      this.#child.send(life);
      return await Promise.race([
        once(this.#child, 'message', { signal }).then(([report]) => report as LifeReport),
        once(this.#child, 'exit', { signal }).then(([code, by]) => {
          throw new Error(`the explorer of seed ${life.seed} died: ${by ?? `exit code ${code}`}`);
        }),
      ]);
    } finally {
      ended.abort();
    }
  }

  /** Whatever it does is given up; resolves when the process is gone. */
  async dismiss(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
}
