/**
 * varve disk …
 */
import type { Command } from 'commander';
import type { DiskDocument, FoundDiskListDocument, ResultDocument } from '../../api/schemas.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { diskUris, secretFileOption } from '../disk-secret.ts';
import { writeChange, writeList, writeOne, writeResult } from '../output.ts';
import { scrub } from '../scrub.ts';
import { collect, does } from '../verb.ts';
import { diskView, foundDiskView } from '../views.ts';
import { beginMovement } from '../wait.ts';
import { putExport } from './export.ts';

export function addDiskNoun(program: Command): void {
  const disk = program.command('disk').description('backing disks of pools');

  disk
    .command('add <pool> <disk-uri>')
    .description('make a pool larger, while it serves')
    .option('--force', 'overwrite whatever the disk carries')
    .option(...secretFileOption)
    .action(does(add));
  disk
    .command('passthrough <disk-uri> <name>')
    .description('serve a whole disk or file as it is, under the name; no pool, no snapshots')
    .option('--read-only', 'refuse writes')
    .option('--listen <address>', 'also on unix:PATH or tcp:HOST:PORT (repeatable)', collect)
    .option(...secretFileOption)
    .action(does(passthrough));
  disk.command('list').alias('ls').description('all disks').action(does(list));
  disk
    .command('scan <address>')
    .description(
      'what a server offers as disks, and what they hold: iscsi://HOST[:PORT], nfs://HOST[/FOLDER]',
    )
    .option(...secretFileOption)
    .action(does(scan));
  disk
    .command('show <disk>')
    .description('one disk, by its uuid, the beginning of it, its path, or POOL/NUMBER')
    .action(does(show));
  disk
    .command('remove <disk>')
    .alias('rm')
    .description('take an empty disk out of its pool, while it serves')
    .action(does(remove));
  disk
    .command('cordon <disk>')
    .description('give the disk no new data')
    .action(does(cordons('cordon')));
  disk
    .command('uncordon <disk>')
    .description('let the disk take new data again')
    .action(does(cordons('uncordon')));
  disk
    .command('set-class <disk> [class]')
    .description('label the disk for placement, as ssd; no class: no label')
    .action(does(setClass));
  disk
    .command('replace <disk> <new-disk-uri>')
    .description('add a disk, move everything from this one, remove it; while guests run')
    .option('--force', 'overwrite whatever the new disk carries')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .option(...secretFileOption)
    .action(does(replace));
  disk
    .command('scrub <disk>')
    .description('read and verify everything on the disk, while guests run; exit 7 on damage')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(scrubDisk));
  disk
    .command('drain <disk>')
    .description('move all data away while guests run; the disk stays cordoned')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(drain));
}

async function add(
  context: Context,
  [pool, uri]: [string, string],
  { force, secretFile }: { force?: boolean; secretFile?: string },
): Promise<void> {
  if (force) await confirmLoss(context, `overwrites ${uri}`);
  const [told] = await diskUris([uri], secretFile);
  const body = { pool, uri: told, force };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const answer = await context.client.call<DiskDocument>('/v1/disks', call);
  writeChange(context, answer.document, diskView, (added) => {
    return `disk ${added.path} adds ${context.size(added.capacity_bytes)} to pool ${pool}`;
  });
}

async function passthrough(
  context: Context,
  [uri, name]: [string, string],
  options: { readOnly?: boolean; listen?: string[]; secretFile?: string },
): Promise<void> {
  const { readOnly, listen, secretFile } = options;
  const [disk] = await diskUris([uri], secretFile);
  await putExport(context, name, { disk, read_only: readOnly, listen }, uri);
}

async function list(context: Context): Promise<void> {
  writeList(context, await context.client.list('/v1/disks'), diskView);
}

async function remove(context: Context, [disk]: [string]): Promise<void> {
  const call = { method: 'DELETE', query: context.dryRun } as const;
  const answer = await context.client.call<ResultDocument>(path`/v1/disks/${disk}`, call);
  const { changed } = answer.document;
  const sentence = changed
    ? `disk ${disk} is out of its pool, and nobody's`
    : `disk ${disk} is nobody's already`;
  writeResult(context, answer.document, sentence);
}

async function scan(
  context: Context,
  [given]: [string],
  { secretFile }: { secretFile?: string },
): Promise<void> {
  const [address] = await diskUris([given], secretFile);
  const call = { method: 'POST', body: { address } } as const;
  const found = await context.client.call<FoundDiskListDocument>('/v1/disks/actions/scan', call);
  writeList(context, found.document, foundDiskView);
}

function cordons(action: 'cordon' | 'uncordon') {
  const now = action === 'cordon' ? 'takes no new data' : 'takes new data';
  return async (context: Context, [disk]: [string]): Promise<void> => {
    const call = { method: 'POST', query: context.dryRun } as const;
    const answer = await context.client.call<DiskDocument>(
      `${path`/v1/disks/${disk}`}/actions/${action}`,
      call,
    );
    writeChange(context, answer.document, diskView, ({ uri }) => `disk ${uri} ${now}`);
  };
}

async function scrubDisk(
  context: Context,
  [disk]: [string],
  options: { rate?: string },
): Promise<void> {
  await scrub(context, path`/v1/disks/${disk}`, options);
}

async function drain(
  context: Context,
  [disk]: [string],
  { rate }: { rate?: string },
): Promise<void> {
  const address = path`/v1/disks/${disk}`;
  await beginMovement(context, `${address}/actions/drain`, { rate }, async () => {
    const drained = await context.client.get<DiskDocument>(address);
    writeChange(context, drained, diskView, ({ uri }) => {
      return `nothing lies on disk ${uri} any more; it stays cordoned`;
    });
  });
}

interface ReplaceOptions {
  readonly force?: boolean;
  readonly rate?: string;
  readonly secretFile?: string;
}

async function replace(
  context: Context,
  [disk, newUri]: [string, string],
  { force, rate, secretFile }: ReplaceOptions,
): Promise<void> {
  if (force) await confirmLoss(context, `overwrites ${newUri}`);
  const [uri] = await diskUris([newUri], secretFile);
  const address = `${path`/v1/disks/${disk}`}/actions/replace`;
  await beginMovement(context, address, { uri, force, rate }, async () => {
    context.say(`disk ${disk} is no part of its pool any more; ${newUri} is`);
  });
}

async function setClass(
  context: Context,
  [disk, label]: [string, string | undefined],
): Promise<void> {
  const call = { method: 'PATCH', query: context.dryRun, body: { class: label ?? null } } as const;
  const answer = await context.client.call<DiskDocument>(path`/v1/disks/${disk}`, call);
  writeChange(context, answer.document, diskView, ({ uri }) => {
    return label === undefined ? `disk ${uri} has no class` : `disk ${uri} is of class ${label}`;
  });
}

async function show(context: Context, [disk]: [string]): Promise<void> {
  writeOne(context, await context.client.get<DiskDocument>(path`/v1/disks/${disk}`), diskView);
}
