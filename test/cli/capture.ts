/** Runs a command line in this process and keeps what it writes. */
import { vi } from 'vitest';
import { run } from '../../src/cli/run.ts';

export interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param server where the service answers, as VARVE_SERVER has it */
export async function runCaptured(server: string, ...argv: string[]): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    }),
  );
  vi.stubEnv('VARVE_SERVER', server);
  try {
    const exit = await run(argv);
    return { exit, ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
    vi.unstubAllEnvs();
  }
}
