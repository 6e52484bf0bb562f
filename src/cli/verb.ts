/**
 * Ties a command of the grammar to its work: arguments as declared, own options, and the context.
 */
import type { Command } from 'commander';
import { Context, type GlobalOptions } from './context.ts';

/** @throws CommandError what went wrong; nothing thrown is exit 0 */
export type Work<A extends readonly unknown[], O> = (
  context: Context,
  args: A,
  options: O,
) => Promise<void>;

/** For commander's `action`, which passes the command last. */
export function does<A extends readonly unknown[], O = object>(work: Work<A, O>) {
  return async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command;
    const context = new Context(command.optsWithGlobals<GlobalOptions>());
    await work(context, command.processedArgs as unknown as A, command.opts<O & object>() as O);
  };
}

/** For an option that may be repeated. */
export function collect(value: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, value];
}
