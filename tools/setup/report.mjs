/**
 * What set-up says and runs: one line on stderr per thing done, silence when nothing is to do.
 *
 * Plain JavaScript: set-up runs before any dependency or build exists.
 */
import { spawnSync } from 'node:child_process';

/** A step that could not be done; the message is the whole explanation. */
export class SetupError extends Error {}

export function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}

/**
 * Runs a command in the foreground; its output goes to stderr, so that stdout stays the program's.
 *
 * @throws SetupError the command is missing or ended with another status than 0
 */
export function run(command, args, options = {}) {
  // Debian keeps some tools (depmod) where an ordinary user's PATH does not look.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, ...options.env };
  const done = spawnSync(command, args, { stdio: ['ignore', 2, 2], ...options, env });
  if (done.error) throw new SetupError(`cannot run ${command}: ${done.error.message}`);
  if (done.status !== 0) {
    throw new SetupError(`${command} ${args.join(' ')} ended with ${done.status ?? done.signal}`);
  }
}

/** The command's standard output, or undefined when it is missing or fails. */
export function output(command, args) {
  const done = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return done.status === 0 ? done.stdout : undefined;
}
