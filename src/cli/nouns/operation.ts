/**
 * varve op …
 */
import type { Command } from 'commander';
import type { OperationDocument } from '../../api/schemas.ts';
import { path } from '../client.ts';
import type { Context } from '../context.ts';
import { writeChange, writeJson, writeList, writeOne } from '../output.ts';
import { does } from '../verb.ts';
import { operationView } from '../views.ts';
import { waitFor } from '../wait.ts';

export function addOperationNoun(program: Command): void {
  const operation = program.command('op').alias('operation').description('long work');

  operation
    .command('list')
    .alias('ls')
    .description('running and ended operations, newest first')
    .action(does(list));
  operation.command('show <id>').description('one operation').action(does(show));
  operation
    .command('wait <id...>')
    .description('until all have ended; fails with the first that failed')
    .action(does(wait));
  operation
    .command('cancel <id>')
    .description('ask it to stop')
    .action(does(asks('cancel')));
  operation
    .command('pause <id>')
    .description('stop at its next step, until it is resumed; also over a restart')
    .action(does(asks('pause')));
  operation
    .command('resume <id>')
    .description('let it go on')
    .action(does(asks('resume')));
}

async function list(context: Context): Promise<void> {
  writeList(context, await context.client.list('/v1/operations'), operationView);
}

async function show(context: Context, [id]: [string]): Promise<void> {
  const address = path`/v1/operations/${id}`;
  writeOne(context, await context.client.get<OperationDocument>(address), operationView);
}

async function wait(context: Context, [ids]: [string[]]): Promise<void> {
  for (const id of ids) {
    const operation = await waitFor(context, id);
    if (context.json) writeJson(context, operation);
    else context.say(`${operation.id} ${operation.operation} of ${operation.target} has succeeded`);
  }
}

const asked = { cancel: 'is asked to stop', pause: 'is paused', resume: 'goes on' } as const;

function asks(action: keyof typeof asked) {
  return async (context: Context, [id]: [string]): Promise<void> => {
    const call = { method: 'POST', query: context.dryRun } as const;
    const address = path`/v1/operations/${id}/actions/` + action;
    const answer = await context.client.call<OperationDocument>(address, call);
    writeChange(context, answer.document, operationView, () => `operation ${id} ${asked[action]}`);
  };
}
