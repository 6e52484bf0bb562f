/**
 * A program with a time limit: it and all of its children are gone when the call ends.
 */
import { spawn } from 'node:child_process';

export interface Ended {
  /** 'late': it did not end by itself and was killed. */
  readonly verdict: 'passed' | 'failed' | 'late';
  readonly output: string;
}

export interface Bounds {
  readonly cwd: string;
  readonly secondsMax: number;
  readonly env?: NodeJS.ProcessEnv;
}

const running = new Set<number>();

/** Kills what is still running, for one who ends before it does: signals of a terminal do not reach it. */
export function killRunning(): void {
  for (const group of running) killGroup(group);
}

/** @throws Error the program cannot be started */
export function runBounded(
  command: string,
  args: readonly string[],
  { cwd, secondsMax, env = {} }: Bounds,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    // Its own process group, so that what it has started can be killed with it.
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const group = child.pid;
    if (group !== undefined) running.add(group);
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(group);
    }, secondsMax * 1000);
    child.on('error', reject);
    child.on('close', (status) => {
      clearTimeout(timer);
      killGroup(group);
      if (group !== undefined) running.delete(group);
      resolve({ verdict: late ? 'late' : status === 0 ? 'passed' : 'failed', output });
    });
  });
}

function killGroup(group: number | undefined): void {
  try {
    if (group !== undefined) process.kill(-group, 'SIGKILL');
  } catch {
    // Nobody is left in it.
  }
}
