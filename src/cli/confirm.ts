/**
 * Confirmation, only where data is lost. It never hangs: with no terminal and no `--yes` it fails.
 */
import { createInterface } from 'node:readline/promises';
import type { Context } from './context.ts';
import { CommandError, exitUsage } from './errors.ts';

/**
 * Returns when the loss was agreed to.
 *
 * @param loss completes "This …", for instance "deletes volume gold and all of its data"
 * @throws CommandError request/confirmation it was not, or nobody is there to ask
 */
export async function confirmLoss(context: Context, loss: string): Promise<void> {
  if (context.options.yes || context.options.dryRun) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw unconfirmed(`this ${loss}, and it was not confirmed`, 'repeat it with --yes');
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`This ${loss}. Type yes to go on: `);
    if (answer.trim() !== 'yes') throw unconfirmed('not confirmed, nothing was done');
  } finally {
    terminal.close();
  }
}

function unconfirmed(message: string, ...actions: string[]): CommandError {
  return new CommandError('request/confirmation', message, exitUsage, actions);
}
