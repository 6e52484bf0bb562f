/** What the benchmarks that run in rounds have in common on their command lines. */
import { Command } from 'commander';
import { wholeNumber } from '../lib/options.ts';

export interface RoundOptions {
  readonly quick: boolean;
  readonly rounds?: number;
  readonly json?: string;
}

/** @param measured what `--json` writes */
export function roundsCommand(name: string, description: string, measured: string): Command {
  return new Command(name)
    .description(description)
    .option('--quick', 'one short round: a smoke test, not a result', false)
    .option('--rounds <n>', 'fewer, or more', wholeNumber)
    .option('--json <file>', `${measured} as JSON, too`);
}
