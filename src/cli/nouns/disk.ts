/**
 * varve disk …
 */
import type { Command } from 'commander';
import type { DiskDocument } from '../../api/schemas.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { writeChange, writeList, writeOne } from '../output.ts';
import { absoluteUri } from '../paths.ts';
import { collect, does } from '../verb.ts';
import { diskView } from '../views.ts';
import { putExport } from './export.ts';

export function addDiskNoun(program: Command): void {
  const disk = program.command('disk').description('backing disks of pools');

  disk
    .command('add <pool> <disk-uri>')
    .description('make a pool larger, while it serves')
    .option('--force', 'overwrite whatever the disk carries')
    .action(does(add));
  disk
    .command('passthrough <disk-uri> <name>')
    .description('serve a whole disk or file as it is, under the name; no pool, no snapshots')
    .option('--read-only', 'refuse writes')
    .option('--listen <address>', 'also on unix:PATH or tcp:HOST:PORT (repeatable)', collect)
    .action(does(passthrough));
  disk.command('list').alias('ls').description('all disks').action(does(list));
  disk
    .command('show <disk>')
    .description('one disk, by its uuid, the beginning of it, or its path')
    .action(does(show));
}

async function add(
  context: Context,
  [pool, uri]: [string, string],
  { force }: { force?: boolean },
): Promise<void> {
  if (force) await confirmLoss(context, `overwrites ${uri}`);
  const body = { pool, uri: absoluteUri(uri), force };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const answer = await context.client.call<DiskDocument>('/v1/disks', call);
  writeChange(context, answer.document, diskView, (added) => {
    return `disk ${added.path} adds ${context.size(added.capacity_bytes)} to pool ${pool}`;
  });
}

async function passthrough(
  context: Context,
  [uri, name]: [string, string],
  { readOnly, listen }: { readOnly?: boolean; listen?: string[] },
): Promise<void> {
  const disk = absoluteUri(uri);
  await putExport(context, name, { disk, read_only: readOnly, listen }, disk);
}

async function list(context: Context): Promise<void> {
  writeList(context, await context.client.list('/v1/disks'), diskView);
}

async function show(context: Context, [disk]: [string]): Promise<void> {
  writeOne(context, await context.client.get<DiskDocument>(path`/v1/disks/${disk}`), diskView);
}
