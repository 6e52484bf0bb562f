/**
 * varve backup …: snapshots as streams, to files and pipes and back.
 */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { OperationDocument, PlanDocument, ResultDocument } from '../../api/schemas.ts';
import { receivePipe, sendPipe } from '../backup-pipe.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { usageError } from '../errors.ts';
import { writeChange, writeResult } from '../output.ts';
import { snapshotTarget, volumeTarget } from '../targets.ts';
import { does } from '../verb.ts';
import { operationView } from '../views.ts';
import { writeOperation } from '../wait.ts';

/** Stands for stdin or stdout. */
const pipe = '-';

export function addBackupNoun(program: Command): void {
  const backup = program
    .command('backup')
    .description('snapshots as verified streams, whole or what changed, in files and pipes');

  backup
    .command('send <volume@snapshot> <file>')
    .description('write a snapshot to a file, or to stdout as -')
    .addOption(
      new Option(
        '--from <volume@snapshot>',
        'an earlier snapshot or bookmark of it: only what changed since',
      ),
    )
    .option('--force', 'replace a file that is there')
    .action(does(send));
  backup
    .command('receive <name> <file>')
    .description('make of a file, or of stdin as -, what was sent: a volume, or its next snapshot')
    .option('--pool <pool>', 'of a volume that is made; the only pool when there is one')
    .option('--class <class>', 'of the disks that its data is to lie on')
    .action(does(receive));
}

async function send(
  context: Context,
  [source, file]: [string, string],
  { from, force }: { from?: string; force?: boolean },
): Promise<void> {
  const { volume, snapshot } = snapshotTarget(source);
  const asked = { snapshot, from: from === undefined ? undefined : baseOf(volume, from) };
  const address = path`/v1/volumes/${volume}`;
  if (file === pipe) return sendPipe(context, `${address}/backup`, asked);
  const absolute = resolve(file);
  if (force) await confirmLoss(context, `replaces ${absolute}`);
  const body = { ...asked, file: absolute, force };
  await begin(context, `${address}/actions/send`, body, async ({ id }) => {
    const ended = await context.client.get<OperationDocument>(path`/v1/operations/${id}`);
    writeChange(context, ended, operationView, () => `${source} is sent to ${file}`);
  });
}

/** @throws CommandError usage */
function baseOf(volume: string, text: string): string {
  const base = snapshotTarget(text);
  if (base.volume === volume) return base.snapshot;
  throw usageError(`${text} is of another volume than ${volume}`, [
    `write it as ${volume}@SNAPSHOT`,
  ]);
}

async function receive(
  context: Context,
  [name, file]: [string, string],
  options: { pool?: string; class?: string },
): Promise<void> {
  const address = path`/v1/volumes/${volumeTarget(name)}/actions/receive`;
  const then = (ended: OperationDocument) => tellReceived(context, name, file, ended);
  if (file === pipe) await receivePipe(context, address, options, then);
  else await begin(context, address, { ...options, file: resolve(file) }, then);
}

async function begin(
  context: Context,
  address: string,
  body: object,
  then: (ended: OperationDocument) => Promise<void>,
): Promise<void> {
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const { document } = await context.client.call<OperationDocument | PlanDocument | ResultDocument>(
    address,
    call,
  );
  if (document.kind === 'Operation') await writeOperation(context, document, then);
  else if (document.kind === 'Result') writeResult(context, document, 'it is there already');
  else writeChange(context, document, operationView, () => '');
}

async function tellReceived(
  context: Context,
  name: string,
  file: string,
  { id }: OperationDocument,
): Promise<void> {
  const ended = await context.client.get<OperationDocument>(path`/v1/operations/${id}`);
  const from = file === pipe ? 'stdin' : file;
  writeChange(context, ended, operationView, ({ parameters }) =>
    parameters.changed === false
      ? 'it is there already'
      : `volume ${name} has the snapshot of ${from}, and is as it was then\n  next:  varve snapshot list ${name}`,
  );
}
