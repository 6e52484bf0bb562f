/**
 * Other programs, run to their end: argument lists (no shell), a time limit, both outputs kept.
 */
import { execFile } from 'node:child_process';

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** After this the program is killed and the call rejects. */
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
}

// More than any tool here prints; a runaway one fails instead of filling memory.
const outputBytesMax = 64 * 1024 * 1024;

/** Runs a program to its end, whatever its status; rejects when it cannot start or exceeds its time. */
export function outcomeOf(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Outcome> {
  const { timeoutMs = 60_000, env = process.env } = options;
  const settings = {
    timeout: timeoutMs,
    maxBuffer: outputBytesMax,
    killSignal: 'SIGKILL',
    env,
  } as const;
  return new Promise((resolve, reject) => {
    execFile(command, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve({ status: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr });
      else
        reject(
          new Error(`${describe(command, args)}: ${error.message}\n${stderr}`, { cause: error }),
        );
    });
  });
}

/** Runs a program that must succeed. @returns its standard output @throws Error with both outputs otherwise */
export async function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { status, stdout, stderr } = await outcomeOf(command, args, options);
  if (status === 0) return stdout;
  throw new Error(`${describe(command, args)} ended with ${status}\n${stdout}${stderr}`);
}

function describe(command: string, args: readonly string[]): string {
  return [command, ...args].join(' ');
}
