/**
 * varve export …
 */
import type { Command } from 'commander';
import type {
  AttachmentDocument,
  ExportDetailsDocument,
  ExportDocument,
  ResultDocument,
} from '../../api/schemas.ts';
import { path } from '../client.ts';
import type { Context } from '../context.ts';
import { writeChange, writeJson, writeList, writeOne, writeResult } from '../output.ts';
import { absoluteAddress } from '../paths.ts';
import { shellLine } from '../shell.ts';
import { snapshotTarget } from '../targets.ts';
import { collect, does } from '../verb.ts';
import { clientView, exportView } from '../views.ts';

export function addExportNoun(program: Command): void {
  const exports = program.command('export').description('volumes served as NBD block devices');

  exports
    .command('add <volume[@snapshot]>')
    .description('serve a volume, or one of its snapshots')
    .option('--name <name>', 'under another name than its own')
    .option('--read-only', 'refuse writes; a snapshot is never written to')
    .option('--scratch', 'a snapshot to be written to: what is written vanishes with the export')
    .option(
      '--changed-since <name>',
      'offer what changed in a snapshot since another or a bookmark',
    )
    .option('--listen <address>', 'also on unix:PATH or tcp:HOST:PORT (repeatable)', collect)
    .action(does(add));
  exports.command('list').alias('ls').description('all exports').action(does(list));
  exports.command('show <name>').description('one export, and who is connected').action(does(show));
  exports
    .command('remove <name>')
    .alias('rm')
    .description('stop serving; the volume, or the disk, stays')
    .option('--disconnect', 'also when clients are connected')
    .action(does(remove));
  attachmentVerb(exports, 'uri', 'the NBD URI, for any client', ({ uri }) => `${uri}\n`);
  const qemu = "QEMU's arguments, and the QMP commands for a running one";
  attachmentVerb(exports, 'qemu', qemu, qemuText);
  attachmentVerb(exports, 'xml', "libvirt's <disk> element", ({ libvirt_xml: xml }) => `${xml}\n`);
}

interface AddOptions {
  name?: string;
  readOnly?: boolean;
  scratch?: boolean;
  changedSince?: string;
  listen?: string[];
}

async function add(context: Context, [source]: [string], options: AddOptions): Promise<void> {
  const target = source.includes('@') ? snapshotTarget(source) : { volume: source };
  const name = options.name ?? source.replace('@', '-');
  const body = {
    ...('snapshot' in target ? { snapshot: target.snapshot } : {}),
    volume: target.volume,
    scratch: options.scratch,
    changed_since: options.changedSince?.replace(`${target.volume}@`, ''),
    read_only: options.readOnly,
    listen: options.listen,
  };
  await putExport(context, name, body, source);
}

/** Asks for an export and says how to reach it. @param source what it serves, as the operator named it */
export async function putExport(
  context: Context,
  name: string,
  asked: { readonly listen: readonly string[] | undefined; readonly [field: string]: unknown },
  source: string,
): Promise<void> {
  const body = { ...asked, listen: asked.listen?.map(absoluteAddress) };
  const call = { method: 'PUT', query: context.dryRun, body } as const;
  const answer = await context.client.call<ExportDocument>(path`/v1/exports/${name}`, call);
  writeChange(context, answer.document, exportView, ({ changed, uris }) =>
    [changed ? `${source} is served:` : `export ${name} was there already:`, ...uris].join('\n  '),
  );
}

async function list(context: Context): Promise<void> {
  writeList(context, await context.client.list('/v1/exports'), exportView);
}

async function show(context: Context, [name]: [string]): Promise<void> {
  const address = path`/v1/exports/${name}`;
  const found = await context.client.get<ExportDetailsDocument>(address);
  writeOne(context, found, exportView);
  const { output } = context.options;
  if (output === 'json' || output === 'name' || found.connections.length === 0) return;
  context.write('\n');
  writeList(context, { items: found.connections }, clientView);
}

async function remove(
  context: Context,
  [name]: [string],
  { disconnect }: { disconnect?: boolean },
): Promise<void> {
  const query = { ...context.dryRun, disconnect };
  const call = { method: 'DELETE', query } as const;
  const answer = await context.client.call<ResultDocument>(path`/v1/exports/${name}`, call);
  writeResult(context, answer.document, `export ${name} is gone; what it served stays`);
}

/** A verb that says how to reach an export. */
function attachmentVerb(
  exports: Command,
  verb: string,
  description: string,
  text: (document: AttachmentDocument) => string,
): void {
  exports
    .command(`${verb} <name>`)
    .description(description)
    .option('--listen <address>', 'through this one of its addresses, not the default socket')
    .action(
      does(async (context: Context, [name]: [string], { listen }: { listen?: string }) => {
        const query = { listen: listen === undefined ? undefined : absoluteAddress(listen) };
        const address = path`/v1/exports/${name}/attach`;
        const found = await context.client.get<AttachmentDocument>(address, query);
        if (context.json) writeJson(context, found);
        else context.write(text(found));
      }),
    );
}

function qemuText({ qemu_arguments: line, qmp }: AttachmentDocument): string {
  return [shellLine(line), '', ...qmp.map((command) => JSON.stringify(command)), ''].join('\n');
}
