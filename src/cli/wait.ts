/**
 * Waiting for operations. The wait may end early (Ctrl-C, `--timeout`), the operation goes on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { OperationDocument, ResultDocument } from '../api/schemas.ts';
import { parseRate } from '../base/size.ts';
import { path } from './client.ts';
import type { Context } from './context.ts';
import { CommandError, exitInterrupted, problemError } from './errors.ts';
import { writeChange, writeJson, writeResult } from './output.ts';
import { progressLine } from './progress.ts';
import { operationView } from './views.ts';

const pollMs = 200;
const exitTimeout = 21;

/**
 * What an operation that was begun answers: with `--no-wait` its id, which is what a script needs; else, when it has succeeded, `then`.
 *
 * @throws CommandError as `waitFor`
 */
export async function writeOperation(
  context: Context,
  operation: OperationDocument,
  then: (ended: OperationDocument) => Promise<void>,
): Promise<void> {
  if (context.options.wait) {
    await then(await waitFor(context, operation.id));
  } else if (context.json) writeJson(context, operation);
  else context.write(`${operationView.name(operation)}\n`);
}

type Paced = { readonly rate: string | undefined } & Readonly<Record<string, unknown>>;

/** What a request says of a rate as it is typed. @throws CommandError usage */
export function paced({ rate, ...fields }: Paced) {
  return { ...fields, rate_bytes_per_second: rate === undefined ? undefined : parseRate(rate) };
}

/**
 * Begins an operation that moves data, or plans it with `--dry-run`.
 *
 * @param then what to write when it has succeeded
 * @throws CommandError as `waitFor`; what the service refuses
 */
export async function beginMovement(
  context: Context,
  address: string,
  fields: Paced,
  then: (ended: OperationDocument) => Promise<void>,
): Promise<void> {
  const call = { method: 'POST', query: context.dryRun, body: paced(fields) } as const;
  const { document } = await context.client.call<OperationDocument | ResultDocument>(address, call);
  if (document.kind === 'Operation') await writeOperation(context, document, then);
  else if (document.kind === 'Result') writeResult(context, document, 'it is there already');
  else writeChange(context, document, operationView, () => '');
}

/**
 * Waits until the operation has succeeded.
 *
 * @throws CommandError its error when it failed or was cancelled; as `waitForEnd`
 */
export async function waitFor(context: Context, id: string): Promise<OperationDocument> {
  const ended = await waitForEnd(context, id);
  if (ended.error !== null) throw problemError(ended.error);
  return ended;
}

/**
 * Waits until the operation has ended, well or badly.
 *
 * @throws CommandError op/timeout; op/detached after Ctrl-C
 */
export async function waitForEnd(context: Context, id: string): Promise<OperationDocument> {
  const line = progressLine(context);
  const interrupted = interruption(id);
  try {
    return await Promise.race([poll(context, id, line.update), interrupted.raised]);
  } finally {
    interrupted.release();
    line.end();
  }
}

async function poll(
  context: Context,
  id: string,
  update: (operation: OperationDocument) => void,
): Promise<OperationDocument> {
  const deadlineMs = Date.now() + (context.timeoutMs ?? Number.POSITIVE_INFINITY);
  for (;;) {
    const operation = await context.client.get<OperationDocument>(path`/v1/operations/${id}`);
    update(operation);
    if (operation.state === 'succeeded' || operation.error !== null) return operation;
    if (Date.now() >= deadlineMs) throw timedOut(id);
    await sleep(Math.min(pollMs, Math.max(0, deadlineMs - Date.now())));
  }
}

function timedOut(id: string): CommandError {
  return new CommandError(
    'op/timeout',
    `operation ${id} has not ended in time; it goes on`,
    exitTimeout,
    [`varve op wait ${id}`],
  );
}

/** Ctrl-C detaches, for as long as the wait lasts. */
function interruption(id: string): { raised: Promise<never>; release: () => void } {
  let listener = () => {};
  const raised = new Promise<never>((_, reject) => {
    listener = () =>
      reject(
        new CommandError('op/detached', `detached; operation ${id} goes on`, exitInterrupted, [
          `varve op wait ${id}`,
          `varve op cancel ${id}`,
        ]),
      );
  });
  process.once('SIGINT', listener);
  return { raised, release: () => process.removeListener('SIGINT', listener) };
}
