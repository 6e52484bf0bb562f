/**
 * varve backup …: snapshots as streams, to files and pipes and back.
 */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { OperationDocument } from '../../api/schemas.ts';
import { receivePipe, sendPipe } from '../backup-pipe.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { usageError } from '../errors.ts';
import { writeChange } from '../output.ts';
import { snapshotTarget, volumeTarget } from '../targets.ts';
import { does } from '../verb.ts';
import { operationView } from '../views.ts';
import { beginMovement, paced } from '../wait.ts';

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
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(send));
  backup
    .command('receive <name> <file>')
    .description('make of a file, or of stdin as -, what was sent: a volume, or its next snapshot')
    .option('--pool <pool>', 'of a volume that is made; the only pool when there is one')
    .option('--class <class>', 'of the disks that its data is to lie on')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(receive));
}

async function send(
  context: Context,
  [source, file]: [string, string],
  { from, force, rate }: { from?: string; force?: boolean; rate?: string },
): Promise<void> {
  const { volume, snapshot } = snapshotTarget(source);
  const asked = { snapshot, from: from === undefined ? undefined : baseOf(volume, from), rate };
  const address = path`/v1/volumes/${volume}`;
  if (file === pipe) return sendPipe(context, `${address}/backup`, paced(asked));
  const absolute = resolve(file);
  if (force) await confirmLoss(context, `replaces ${absolute}`);
  const fields = { ...asked, file: absolute, force };
  await beginMovement(context, `${address}/actions/send`, fields, async ({ id }) => {
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
  { rate, ...options }: { pool?: string; class?: string; rate?: string },
): Promise<void> {
  const address = path`/v1/volumes/${volumeTarget(name)}/actions/receive`;
  const then = (ended: OperationDocument) => tellReceived(context, name, file, ended);
  if (file === pipe) await receivePipe(context, address, paced({ ...options, rate }), then);
  else await beginMovement(context, address, { ...options, file: resolve(file), rate }, then);
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
