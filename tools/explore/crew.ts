/**
 * Worker processes that live lives side by side: the addon has one data plane in a process, and JavaScript one thread.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A process that answers each life it is told of with its report (worker.ts). */
export class Worker<Life extends { readonly seed: number }, Report> {
  readonly #child: ChildProcess;

  /** @param program of the process @param env for it, besides ours */
  constructor(program: URL, env: Readonly<Record<string, string>> = {}) {
    this.#child = fork(fileURLToPath(program), {
      execArgv: ['--import', 'tsx'],
      serialization: 'advanced',
      env: { ...process.env, ...env },
    });
  }

  /** @throws Error the process died over it */
  async live(life: Life): Promise<Report> {
    const ended = new AbortController();
    const { signal } = ended;
    try {
      this.#child.send(life);
      return await Promise.race([
        once(this.#child, 'message', { signal }).then(([report]) => report as Report),
        once(this.#child, 'exit', { signal }).then(([code, by]) => {
          throw new Error(`the process of seed ${life.seed} died: ${by ?? `exit code ${code}`}`);
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
