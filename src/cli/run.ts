/**
 * Runs one command line; returns its exit status. Errors go to stderr in the form of errors.ts.
 */
import { CommanderError } from 'commander';
import { type CommandError, errorText, exitUsage, toCommandError, usageError } from './errors.ts';
import { buildProgram } from './program.ts';

export async function run(argv: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError && isShown(thrown)) return shownExit(thrown);
    const error = thrown instanceof CommanderError ? grammarError(thrown) : toCommandError(thrown);
    process.stderr.write(errorText(error));
    return error.exit;
  }
}

/** Help and version are printed by commander itself. */
function isShown(error: CommanderError): boolean {
  return ['commander.help', 'commander.helpDisplayed', 'commander.version'].includes(error.code);
}

/** Help nobody asked for means that a verb is missing. */
function shownExit(error: CommanderError): number {
  return error.code === 'commander.help' ? exitUsage : 0;
}

/** `error: unknown command 'volum'\n(Did you mean volume?)` in our form. */
function grammarError(error: CommanderError): CommandError {
  const [first = '', ...rest] = error.message.split('\n');
  const hint = /\((Did you mean .*\?)\)/.exec(rest.join(' '))?.[1];
  const actions = hint === undefined ? [] : [hint.replace('Did', 'did')];
  return usageError(first.replace(/^error: /, ''), [
    ...actions,
    'varve help, or --help behind a command',
  ]);
}
