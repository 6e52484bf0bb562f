/**
 * varve volume …
 */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type {
  OperationDocument,
  ResultDocument,
  ReversionDocument,
  SnapshotItem,
  VolumeDocument,
  VolumeItem,
  VolumeMapDocument,
} from '../../api/schemas.ts';
import { parseRate, parseSize } from '../../base/size.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { formatPause, heldText, parseDuration } from '../duration.ts';
import { usageError } from '../errors.ts';
import { type View, writeChange, writeJson, writeList, writeOne, writeResult } from '../output.ts';
import { absoluteUri } from '../paths.ts';
import { table } from '../table.ts';
import { snapshotTarget, volumeTarget } from '../targets.ts';
import { treeRows } from '../tree.ts';
import { does } from '../verb.ts';
import { operationView, treeView, volumeView } from '../views.ts';
import { beginMovement, writeOperation } from '../wait.ts';

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
    .option('--class <class>', 'of the disks that its data is to lie on')
    .action(does(create));
  volume
    .command('list')
    .alias('ls')
    .description('all volumes')
    .option('--tree', 'draw them with their snapshots and clones')
    .action(does(list));
  volume.command('show <name>').description('one volume').action(does(show));
  volume.command('rename <name> <new-name>').description('give another name').action(does(rename));
  volume
    .command('resize <name> <size>')
    .description('make larger')
    .option(
      '--qmp <socket>',
      'and tell a running QEMU, by the socket of its -qmp: the guest sees it at once',
    )
    .action(does(resize));
  volume
    .command('map <name>')
    .description('which ranges hold data, are zero, use no space')
    .option('--offset <size>', 'begin there')
    .option('--length <size>', 'that much of it')
    .action(does(map));
  volume
    .command('clone <snapshot> <name>')
    .description('a new volume that reads through VOLUME@SNAPSHOT: no data is copied')
    .action(does(clone));
  volume
    .command('flatten <name>')
    .description('copy what a volume inherits, so that it needs no parent')
    .action(does(flatten));
  volume
    .command('revert <snapshot>')
    .description('make a volume what it was at VOLUME@SNAPSHOT; today stays as a safety snapshot')
    .option('--force', 'also when clients are connected: their connections are closed first')
    .option('--discard', 'keep no safety snapshot; asks first')
    .action(does(revert));
  volume
    .command('move <name>')
    .description(
      'move a volume and its snapshots to a class, a disk or another pool, while it is served',
    )
    .option('--to <class-disk-or-pool>', 'where; what is written later goes there too')
    .option('--keep <duration>', 'how long a move to another pool can be undone; 1d unless given')
    .option('--undo', 'back to the pool it came from; only what is new is copied')
    .option('--finish', 'give back what the pool it came from keeps: no undo any more')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(move));
  volume
    .command('set-mode <name> <mode>')
    .description('row: redirect on write; cow: copy on write')
    .action(does(setMode));
  volume
    .command('adopt <disk-uri> <name>')
    .description('make a volume of an existing disk or raw image, at once; the disk is only read')
    .option('--pool <pool>', 'where what is written goes; the only pool when there is one')
    .option('--absorb', 'copy everything into the pool then, so that the disk may go')
    .option('--rate <rate>', 'with --absorb: as 200MiB/s, no faster than that')
    .action(does(adopt));
  volume
    .command('absorb <name>')
    .description(
      'copy what an adopted volume reads from its disk into the pool, while it is served',
    )
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(absorb));
  volume
    .command('leave <volume[@snapshot]> <disk-uri>')
    .description('write a volume out as a plain disk or file that needs no varve; the volume stays')
    .option('--force', 'overwrite whatever the disk carries')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(leave));
  volume
    .command('delete <name>')
    .alias('rm')
    .description('delete a volume and all of its data')
    .option('--with-snapshots', 'its snapshots too')
    .option('--keep-clones', 'also when linked clones read through it')
    .action(does(remove));
}

interface CreateOptions {
  size: string;
  pool?: string;
  snapshotMode?: string;
  thick?: boolean;
  class?: string;
}

async function create(context: Context, [name]: [string], options: CreateOptions): Promise<void> {
  const { size, snapshotMode, ...rest } = options;
  const body = { size_bytes: parseSize(size), snapshot_mode: snapshotMode, ...rest };
  const address = volumeAddress(name);
  const answer = await context.client.call<VolumeDocument | OperationDocument>(address, {
    method: 'PUT',
    query: context.dryRun,
    body,
  });
  const { document } = answer;
  if (document.kind === 'Volume') return writeCreated(context, document);
  if (document.kind !== 'Operation') return writeChange(context, document, volumeView, () => '');
  await writeOperation(context, document, async () => {
    const created = await context.client.get<VolumeDocument>(address);
    writeCreated(context, { ...created, changed: true });
  });
}

async function adopt(
  context: Context,
  [uri, name]: [string, string],
  { pool, absorb: absorbs, rate }: { pool?: string; absorb?: boolean; rate?: string },
): Promise<void> {
  if (rate !== undefined && !absorbs) {
    throw usageError('--rate is for copying: without --absorb nothing is copied');
  }
  const source = absoluteUri(uri);
  const address = volumeAddress(name);
  const body = { source, pool, absorb: absorbs, rate_bytes_per_second: rate && parseRate(rate) };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const answer = await context.client.call<VolumeDocument | OperationDocument>(
    `${address}/actions/adopt`,
    call,
  );
  const { document } = answer;
  const write = (volume: VolumeDocument) => writeAdopted(context, volume, source);
  if (document.kind !== 'Operation') return write(document);
  await writeOperation(context, document, async () => {
    write({ ...(await context.client.get<VolumeDocument>(address)), changed: true });
  });
}

async function absorb(
  context: Context,
  [name]: [string],
  { rate }: { rate?: string },
): Promise<void> {
  const address = volumeAddress(name);
  const body = { rate_bytes_per_second: rate && parseRate(rate) };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const answer = await context.client.call<VolumeDocument | OperationDocument>(
    `${address}/actions/absorb`,
    call,
  );
  const { document } = answer;
  const write = (volume: VolumeDocument) => {
    writeChange(context, volume, volumeView, ({ changed }) =>
      changed
        ? `volume ${name} lies in its pool now; the disk that it was adopted from may be deleted`
        : `volume ${name} reads from no adopted disk`,
    );
  };
  if (document.kind !== 'Operation') return write(document);
  await writeOperation(context, document, async () => {
    write({ ...(await context.client.get<VolumeDocument>(address)), changed: true });
  });
}

async function leave(
  context: Context,
  [source, uri]: [string, string],
  { force, rate }: { force?: boolean; rate?: string },
): Promise<void> {
  const named = source.includes('@') ? snapshotTarget(source) : { volume: source };
  const disk = absoluteUri(uri);
  if (force) await confirmLoss(context, `overwrites ${disk}`);
  const snapshot = 'snapshot' in named ? named.snapshot : undefined;
  const address = `${volumeAddress(named.volume)}/actions/leave`;
  await beginMovement(context, address, { disk, snapshot, force, rate }, async ({ id }) => {
    const ended = await context.client.get<OperationDocument>(path`/v1/operations/${id}`);
    writeChange(
      context,
      ended,
      operationView,
      () => `${source} is on ${disk}, compared byte for byte; the volume stays until you delete it`,
    );
  });
}

function writeAdopted(context: Context, document: VolumeDocument, source: string): void {
  writeChange(context, document, volumeView, ({ name, size_bytes, adopted_from, changed }) => {
    if (!changed) return `volume ${name} was adopted already`;
    const size = context.size(size_bytes);
    const told =
      adopted_from === null
        ? [`volume ${name} is there: ${size}, copied from ${source}, which may be deleted`]
        : [
            `volume ${name} is there: ${size}, read from ${source}`,
            '  varve never writes to that disk: it stays as it is now, safe to go back to. Leave it in place, and do not change it',
          ];
    return [...told, `  next:  varve export add ${name}`].join('\n');
  });
}

function writeCreated(context: Context, document: VolumeDocument): void {
  writeChange(context, document, volumeView, ({ name, pool, size_bytes, changed }) =>
    changed
      ? `volume ${name} is there: ${context.size(size_bytes)} in pool ${pool}`
      : `volume ${name} was there already`,
  );
}

async function list(context: Context, _args: [], { tree }: { tree?: boolean }): Promise<void> {
  const volumes = await context.client.list<{ items: VolumeItem[] }>('/v1/volumes');
  if (!tree || !context.isTable) return writeList(context, volumes, volumeView);
  const snapshots = await context.client.list<{ items: SnapshotItem[] }>('/v1/snapshots');
  writeList(context, { items: treeRows(volumes.items, snapshots.items) }, treeView);
}

async function clone(context: Context, [source, name]: [string, string]): Promise<void> {
  const { text } = snapshotTarget(source);
  const address = `${volumeAddress(name)}/actions/clone`;
  const call = { method: 'POST', query: context.dryRun, body: { source: text } } as const;
  const answer = await context.client.call<VolumeDocument>(address, call);
  writeChange(context, answer.document, volumeView, ({ changed }) =>
    changed
      ? `volume ${name} is there: a linked clone of ${text}\n  next:  varve export add ${name}`
      : `volume ${name} was there already`,
  );
}

async function flatten(context: Context, [name]: [string]): Promise<void> {
  const address = volumeAddress(name);
  const call = { method: 'POST', query: context.dryRun } as const;
  const answer = await context.client.call<VolumeDocument | OperationDocument>(
    `${address}/actions/flatten`,
    call,
  );
  const sentence = ({ changed }: VolumeDocument) =>
    changed ? `volume ${name} needs no parent any more` : `volume ${name} has no parent`;
  const { document } = answer;
  if (document.kind !== 'Operation') return writeChange(context, document, volumeView, sentence);
  await writeOperation(context, document, async () => {
    const volume = await context.client.get<VolumeDocument>(address);
    writeChange(context, { ...volume, changed: true }, volumeView, sentence);
  });
}

async function move(
  context: Context,
  [name]: [string],
  { keep, rate, ...options }: MoveOptions,
): Promise<void> {
  const { to, undo = false, finish = false } = options;
  if ([to !== undefined, undo, finish].filter(Boolean).length !== 1) {
    throw usageError('give one of --to, --undo and --finish', [
      `varve volume move ${name} --to POOL`,
    ]);
  }
  const address = volumeAddress(name);
  const call = `${address}/actions/move`;
  if (finish) {
    const asked = { method: 'POST', query: context.dryRun, body: { finish } } as const;
    const { document } = await context.client.call<ResultDocument>(call, asked);
    const done = document.changed ? 'was' : 'had been';
    return writeResult(context, document, `what was kept of volume ${name} ${done} given back`);
  }
  const keepSeconds = keep === undefined ? undefined : Math.round(parseDuration(keep) / 1000);
  const fields = { to, undo: undo || undefined, keep_seconds: keepSeconds, rate };
  await beginMovement(context, call, fields, async ({ phase }) => {
    const volume = await context.client.get<VolumeDocument>(address);
    const where = undo ? `is in pool ${volume.pool} again` : `lies on ${to} now`;
    // How long guests were held up, when they were.
    const held = phase.startsWith('switched; ') ? phase.slice('switched'.length) : '';
    writeChange(context, volume, volumeView, () => `volume ${name} ${where}${held}`);
  });
}

interface MoveOptions {
  readonly to?: string;
  readonly keep?: string;
  readonly undo?: boolean;
  readonly finish?: boolean;
  readonly rate?: string;
}

async function revert(
  context: Context,
  [target]: [string],
  { force, discard }: { force?: boolean; discard?: boolean },
): Promise<void> {
  const { volume, snapshot } = snapshotTarget(target);
  // Otherwise a snapshot keeps it, and clients that are disconnected may come again: nothing is lost.
  if (discard) {
    const loss = 'and what it is now is lost';
    await confirmLoss(context, `makes volume ${volume} what it was at ${target}, ${loss}`);
  }
  const address = `${volumeAddress(volume)}/actions/revert`;
  const body = { snapshot, force, discard };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const { document } = await context.client.call<ReversionDocument>(address, call);
  writeChange(
    context,
    document,
    reversionView,
    ({ safety, pause_seconds, freed_bytes, changed }) => {
      if (!changed) return `volume ${volume} is what it was at ${target} already`;
      const done = `volume ${volume} is what it was at ${target}; ${heldText(pause_seconds)}`;
      if (safety === null) return `${done}; ${context.size(freed_bytes)} come back`;
      const kept = `${volume}@${safety}`;
      return `${done}\n  what it was until now is ${kept}: varve volume revert ${kept}, or delete it`;
    },
  );
}

async function setMode(context: Context, [name, mode]: [string, string]): Promise<void> {
  if (mode !== 'row' && mode !== 'cow') throw usageError(`"${mode}" is no mode`, ['row or cow']);
  const document = await change(context, name, { snapshot_mode: mode });
  writeChange(context, document, volumeView, ({ changed }) =>
    changed ? `volume ${name} is in mode ${mode} now` : `volume ${name} is in mode ${mode} already`,
  );
}

const reversionView: View<ReversionDocument> = {
  name: ({ volume, safety }) => (safety === null ? volume : `${volume}@${safety}`),
  columns: () => [
    { title: 'VOLUME', value: ({ volume }) => volume },
    { title: 'SAFETY', value: ({ safety }) => safety ?? '-' },
    { title: 'PAUSE', value: ({ pause_seconds: pause }) => formatPause(pause) },
  ],
};

async function show(context: Context, [name]: [string]): Promise<void> {
  const address = volumeAddress(name);
  writeOne(context, await context.client.get<VolumeDocument>(address), volumeView);
}

async function rename(context: Context, [name, to]: [string, string]): Promise<void> {
  const document = await change(context, name, { name: to });
  writeChange(context, document, volumeView, ({ changed }) =>
    changed ? `volume ${name} is now ${to}` : `volume ${name} has that name already`,
  );
}

async function resize(
  context: Context,
  [name, size]: [string, string],
  { qmp }: { qmp?: string },
): Promise<void> {
  // First whether the guest can be told at all: half of it done is what nobody wants.
  if (qmp !== undefined) await announceSize(context, name, qmp, { dry_run: true });
  const document = await change(context, name, { size_bytes: parseSize(size) });
  const isKnown = qmp !== undefined && !context.dryRun.dry_run;
  if (isKnown) await announceSize(context, name, qmp, {});
  const guest = isKnown ? 'the guest sees it' : 'a connected guest sees it when it reconnects';
  writeChange(context, document, volumeView, ({ changed, size_bytes: now }) =>
    changed
      ? `volume ${name} has ${context.size(now)}; ${guest}`
      : `volume ${name} has ${context.size(now)} already`,
  );
}

async function announceSize(
  context: Context,
  name: string,
  qmp: string,
  query: { dry_run?: boolean },
): Promise<void> {
  const call = { method: 'POST', query, body: { qmp: resolve(qmp) } } as const;
  await context.client.call(`${volumeAddress(name)}/actions/announce-size`, call);
}

async function change(context: Context, name: string, body: object): Promise<VolumeDocument> {
  const call = { method: 'PATCH', query: context.dryRun, body } as const;
  return (await context.client.call<VolumeDocument>(volumeAddress(name), call)).document;
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
  const address = `${volumeAddress(name)}/map`;
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

async function remove(
  context: Context,
  [name]: [string],
  options: { withSnapshots?: boolean; keepClones?: boolean },
): Promise<void> {
  const address = volumeAddress(name);
  const { withSnapshots: with_snapshots, keepClones: keep_clones } = options;
  const all = with_snapshots ? ', its snapshots' : '';
  await confirmLoss(context, `deletes volume ${name}${all} and all of its data`);
  const query = { ...context.dryRun, with_snapshots, keep_clones };
  const call = { method: 'DELETE', query } as const;
  const answer = await context.client.call<ResultDocument>(address, call);
  const freed = context.size(answer.document.freed_bytes);
  writeResult(context, answer.document, `volume ${name} is gone; ${freed} come back`);
}

/** @throws CommandError usage, when a snapshot is named */
function volumeAddress(name: string): string {
  return path`/v1/volumes/${volumeTarget(name)}`;
}
