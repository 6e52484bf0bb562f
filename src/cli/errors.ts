/**
 * What goes wrong, as people read it and scripts branch on it:
 *
 *   error: what happened, and why
 *     try:   what to do about it
 *     code:  volume/has-clones
 */
import type { ProblemDocument } from '../api/schemas.ts';
import { errorCodes, messageOf, StorageError } from '../base/errors.ts';

export const exitFailed = 1;
export const exitUsage = 2;
export const exitNotFound = 3;
export const exitDamage = 7;
export const exitInterrupted = 130;

/** An error with its code and exit status; whatever else is thrown is a bug of the command. */
export class CommandError extends Error {
  override readonly name = 'CommandError';

  constructor(
    readonly code: string,
    message: string,
    readonly exit: number,
    readonly actions: readonly string[] = [],
  ) {
    super(message);
  }
}

/** The line as typed makes no sense, or lacks something. */
export function usageError(message: string, actions: readonly string[] = []): CommandError {
  return new CommandError('request/invalid', message, exitUsage, actions);
}

/** What the service refused. A code of a newer service than this command still has its status. */
export function problemError(
  problem: Pick<ProblemDocument, 'code' | 'detail' | 'actions'>,
): CommandError {
  return new CommandError(problem.code, problem.detail, exitOf(problem.code), problem.actions);
}

export function toCommandError(thrown: unknown): CommandError {
  if (thrown instanceof CommandError) return thrown;
  if (thrown instanceof StorageError) {
    return problemError({
      code: thrown.code,
      detail: thrown.message,
      actions: [...thrown.actions],
    });
  }
  const reason = messageOf(thrown);
  return new CommandError('service/internal', reason, exitFailed, ['report it: this is a bug']);
}

export function errorText(error: CommandError): string {
  const lines = [`error: ${error.message}`];
  for (const action of error.actions) lines.push(`  try:   ${action}`);
  lines.push(`  code:  ${error.code}`);
  return `${lines.join('\n')}\n`;
}

function exitOf(code: string): number {
  return Object.hasOwn(errorCodes, code)
    ? errorCodes[code as keyof typeof errorCodes].exit
    : exitFailed;
}
