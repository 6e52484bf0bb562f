/**
 * varve client …
 */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { writeList } from '../output.ts';
import { does } from '../verb.ts';
import { clientView } from '../views.ts';

export function addClientNoun(program: Command): void {
  const client = program.command('client').description('connected NBD clients');

  client
    .command('list')
    .alias('ls')
    .description('who is connected, and what it has read and written')
    .option('--export <name>', 'only of that export')
    .action(does(list));
}

async function list(context: Context, _: [], options: { export?: string }): Promise<void> {
  writeList(context, await context.client.list('/v1/clients', options), clientView);
}
