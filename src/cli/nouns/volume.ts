/**
 * varve volume …
 */
import { type Command, Option } from 'commander';
import type {
  OperationDocument,
  ResultDocument,
  VolumeDocument,
  VolumeMapDocument,
} from '../../api/schemas.ts';
import { parseSize } from '../../base/size.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { writeChange, writeJson, writeList, writeOne, writeResult } from '../output.ts';
import { table } from '../table.ts';
import { does } from '../verb.ts';
import { operationView, volumeView } from '../views.ts';
import { waitFor } from '../wait.ts';

export function addVolumeNoun(program: Command): void {
  const volume = program.command('volume').alias('vol').description('thin volumes');

  volume
    .command('create <name>')
    .description('make a volume; space is taken as the guest writes')
    .requiredOption('--size <size>', 'what the guest sees: 10GiB, 500GB')
    .option('--pool <pool>', 'where; the only pool when there is one')
    .addOption(
      new Option('--snapshot-mode <mode>', 'row: redirect on write; cow: copy on write').choices([
        'row',
        'cow',
      ]),
    )
    .option('--thick', 'take all of its space now')
    .action(does(create));
  volume.command('list').alias('ls').description('all volumes').action(does(list));
  volume.command('show <name>').description('one volume').action(does(show));
  volume.command('rename <name> <new-name>').description('give another name').action(does(rename));
  volume.command('resize <name> <size>').description('make larger').action(does(resize));
  volume
    .command('map <name>')
    .description('which ranges hold data, are zero, use no space')
    .option('--offset <size>', 'begin there')
    .option('--length <size>', 'that much of it')
    .action(does(map));
  volume
    .command('delete <name>')
    .alias('rm')
    .description('delete a volume and all of its data')
    .action(does(remove));
}

interface CreateOptions {
  size: string;
  pool?: string;
  snapshotMode?: string;
  thick?: boolean;
}

async function create(context: Context, [name]: [string], options: CreateOptions): Promise<void> {
  const { size, pool, snapshotMode, thick } = options;
  const body = { size_bytes: parseSize(size), pool, snapshot_mode: snapshotMode, thick };
  const address = path`/v1/volumes/${name}`;
  const answer = await context.client.call<VolumeDocument | OperationDocument>(address, {
    method: 'PUT',
    query: context.dryRun,
    body,
  });
  const { document } = answer;
  if (document.kind === 'Volume') return writeCreated(context, document);
  if (document.kind !== 'Operation') return writeChange(context, document, volumeView, () => '');
  if (!context.options.wait) return writeStarted(context, document);
  await waitFor(context, document.id);
  writeCreated(context, { ...(await context.client.get<VolumeDocument>(address)), changed: true });
}

function writeCreated(context: Context, document: VolumeDocument): void {
  writeChange(context, document, volumeView, ({ name, pool, size_bytes, changed }) =>
    changed
      ? `volume ${name} is there: ${context.size(size_bytes)} in pool ${pool}`
      : `volume ${name} was there already`,
  );
}

/** With `--no-wait` the id is what a script needs, also as text. */
function writeStarted(context: Context, operation: OperationDocument): void {
  if (context.json) writeJson(context, operation);
  else context.write(`${operationView.name(operation)}\n`);
}

async function list(context: Context): Promise<void> {
  writeList(context, await context.client.list('/v1/volumes'), volumeView);
}

async function show(context: Context, [name]: [string]): Promise<void> {
  const address = path`/v1/volumes/${name}`;
  writeOne(context, await context.client.get<VolumeDocument>(address), volumeView);
}

async function rename(context: Context, [name, to]: [string, string]): Promise<void> {
  const document = await change(context, name, { name: to });
  writeChange(context, document, volumeView, ({ changed }) =>
    changed ? `volume ${name} is now ${to}` : `volume ${name} has that name already`,
  );
}

async function resize(context: Context, [name, size]: [string, string]): Promise<void> {
  const document = await change(context, name, { size_bytes: parseSize(size) });
  writeChange(context, document, volumeView, ({ changed, size_bytes: now }) =>
    changed
      ? `volume ${name} has ${context.size(now)}; a connected guest sees it when it reconnects`
      : `volume ${name} has ${context.size(now)} already`,
  );
}

async function change(context: Context, name: string, body: object): Promise<VolumeDocument> {
  const call = { method: 'PATCH', query: context.dryRun, body } as const;
  return (await context.client.call<VolumeDocument>(path`/v1/volumes/${name}`, call)).document;
}

async function map(
  context: Context,
  [name]: [string],
  { offset, length }: { offset?: string; length?: string },
): Promise<void> {
  const query = {
    // A size is never zero, an offset may be.
    offset_bytes: offset === undefined || offset === '0' ? undefined : parseSize(offset),
    length_bytes: length === undefined ? undefined : parseSize(length),
  };
  const address = path`/v1/volumes/${name}/map`;
  const found = await context.client.list<VolumeMapDocument>(address, query);
  if (context.json) return writeJson(context, found);
  context.write(
    table(
      [
        { title: 'OFFSET', right: true, value: (extent) => context.size(extent.offset_bytes) },
        { title: 'LENGTH', right: true, value: (extent) => context.size(extent.length_bytes) },
        { title: 'STATE', value: extentState },
      ],
      found.items,
      { wide: false, bare: !context.options.header },
    ),
  );
}

function extentState({ hole, zero }: VolumeMapDocument['items'][number]): string {
  if (hole) return 'hole';
  return zero ? 'zero' : 'data';
}

async function remove(context: Context, [name]: [string]): Promise<void> {
  await confirmLoss(context, `deletes volume ${name} and all of its data`);
  const call = { method: 'DELETE', query: context.dryRun } as const;
  const answer = await context.client.call<ResultDocument>(path`/v1/volumes/${name}`, call);
  const freed = context.size(answer.document.freed_bytes);
  writeResult(context, answer.document, `volume ${name} is gone; ${freed} come back`);
}
