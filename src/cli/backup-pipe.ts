/**
 * Backup streams through this process: from the service to stdout, from stdin to the service.
 */
import { pipeline } from 'node:stream/promises';
import type { OperationDocument, PlanDocument } from '../api/schemas.ts';
import { messageOf } from '../base/errors.ts';
import { path } from './client.ts';
import type { Context } from './context.ts';
import { CommandError, exitDamage, usageError } from './errors.ts';
import { writeChange } from './output.ts';
import { operationView } from './views.ts';
import { waitFor, writeOperation } from './wait.ts';

/** One request each: large enough that requests cost nothing beside the bytes. */
const partBytes = 4 * 1024 * 1024;

/** @throws CommandError what ended it; what stdout has by then is no whole stream, and will not be received */
export async function sendPipe(
  context: Context,
  address: string,
  asked: Readonly<Record<string, string | number | undefined>>,
): Promise<void> {
  const query = { ...asked, ...context.dryRun };
  if (context.options.dryRun) {
    const plan = await context.client.get<PlanDocument>(address, query);
    return writeChange(context, plan, operationView, () => '');
  }
  if (process.stdout.isTTY) {
    throw usageError('a stream is nothing to look at', ['send it on: … - > FILE, or … - | ssh …']);
  }
  const stream = await context.client.open(address, { query });
  // Elsewhere a reader that has seen enough is no error (main.ts); here it has not got what it is to keep.
  process.stdout.removeAllListeners('error');
  const id = stream.headers.location?.split('/').at(-1) ?? '';
  try {
    await pipeline(stream, process.stdout);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') await waitFor(context, id);
    throw new CommandError('backup/cut', `the stream was cut: ${messageOf(error)}`, exitDamage, [
      'look at what reads it, then send it again',
    ]);
  }
}

/**
 * @param then what to write when it has succeeded
 * @throws CommandError what the service refuses; as `waitFor`
 */
export async function receivePipe(
  context: Context,
  address: string,
  body: object,
  then: (ended: OperationDocument) => Promise<void>,
): Promise<void> {
  if (process.stdin.isTTY) throw usageError('there is no stream on stdin', ['… - < FILE']);
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const { document } = await context.client.call<OperationDocument>(address, call);
  await feed(context, path`/v1/operations/${document.id}/input`);
  await writeOperation(context, document, then);
}

/** Ends with stdin, or when the operation reads no more: why is the operation's to say. */
async function feed(context: Context, address: string): Promise<void> {
  let offset = 0;
  try {
    for await (const part of partsOf(process.stdin)) {
      await context.client.put(address, { offset }, part);
      offset += part.length;
    }
    await context.client.put(address, { offset, last: true }, Buffer.alloc(0));
  } catch (error) {
    if (!(error instanceof CommandError) || error.code !== 'op/state') throw error;
    process.stdin.destroy();
  }
}

async function* partsOf(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of input) {
    parts.push(part);
    bytes += part.length;
    if (bytes < partBytes) continue;
    yield Buffer.concat(parts);
    parts = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(parts);
}
