/**
 * varve snapshot …
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type {
  ResultDocument,
  ScheduleDocument,
  SnapshotAttachmentDocument,
  SnapshotCreationDocument,
  SnapshotDiffDocument,
  SnapshotDocument,
  SnapshotItem,
  VolumeItem,
} from '../../api/schemas.ts';
import { messageOf } from '../../base/errors.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { heldText, parseDuration } from '../duration.ts';
import { usageError } from '../errors.ts';
import { writeChange, writeJson, writeList, writeOne, writeResult } from '../output.ts';
import { table } from '../table.ts';
import { snapshotTarget, volumeTarget } from '../targets.ts';
import { treeRows } from '../tree.ts';
import { collect, does } from '../verb.ts';
import { scheduleView, snapshotView, treeView } from '../views.ts';

export function addSnapshotNoun(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .alias('snap')
    .description('volumes as they were at a point in time');

  snapshot
    .command('create <snapshots...>')
    .description('take VOLUME@NAME; several at once are one point in time, all or none')
    .option('--note <text>', 'kept with them')
    .option('--label <key=value>', 'kept with them (repeatable)', collect)
    .option('--attach <file>', "its content is kept with them: a machine's definition, say")
    .option('--quiesce <socket>', "freeze the guest's filesystems through the QEMU guest agent")
    .option('--quiesce-timeout <duration>', 'thaw the guest after that whatever happens (10s)')
    .action(does(create));
  snapshot
    .command('list [volume]')
    .alias('ls')
    .description('all snapshots, or those of a volume')
    .option('--tree', 'draw what goes back to what, with clones')
    .action(does(list));
  snapshot
    .command('show <snapshot>')
    .description('one snapshot, and what its deletion frees')
    .action(does(show));
  snapshot
    .command('diff <from> [to]')
    .description('what changed since VOLUME@FROM, up to VOLUME@TO or now')
    .action(does(diff));
  snapshot
    .command('rename <snapshot> <new-name>')
    .description('give another name')
    .action(does(rename));
  snapshot
    .command('attachment <snapshot>')
    .description('what was attached to it')
    .action(does(attachment));
  snapshot
    .command('delete <snapshots...>')
    .alias('rm')
    .description('delete snapshots, in any order; no data is copied')
    .option('--bookmark', 'keep what tells changes since')
    .option('--keep-clones', 'also when linked clones read through them')
    .action(does(remove));
  addSchedule(snapshot);
}

function addSchedule(snapshot: Command): void {
  const schedule = snapshot
    .command('schedule [volume]')
    .description('snapshot a volume by itself from now on, and keep so many')
    .option('--keep-last <n>', 'the newest')
    .option('--keep-hourly <n>', 'the newest of each of the last hours')
    .option('--keep-daily <n>', 'the newest of each of the last days')
    .option('--keep-weekly <n>', 'the newest of each of the last weeks')
    .option('--every <duration>', 'how often; as often as the finest kind kept by default')
    .action(does(setSchedule));
  schedule.command('list').alias('ls').description('all schedules').action(does(listSchedules));
  schedule
    .command('remove <volume>')
    .alias('rm')
    .description('no more; the snapshots that were taken stay')
    .action(does(removeSchedule));
}

interface CreateOptions {
  note?: string;
  label?: string[];
  attach?: string;
  quiesce?: string;
  quiesceTimeout?: string;
}

async function create(
  context: Context,
  [names]: [string[]],
  options: CreateOptions,
): Promise<void> {
  for (const name of names) snapshotTarget(name);
  const { note, label, attach, quiesce, quiesceTimeout } = options;
  const body = {
    names,
    note,
    labels: label === undefined ? undefined : labels(label),
    attachment: attach === undefined ? undefined : content(attach),
    quiesce_socket: quiesce === undefined ? undefined : resolve(quiesce),
    quiesce_timeout_seconds:
      quiesceTimeout === undefined ? undefined : parseDuration(quiesceTimeout) / 1000,
  };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const { document } = await context.client.call<SnapshotCreationDocument>('/v1/snapshots', call);
  if (context.json || document.kind !== 'SnapshotCreation') {
    return writeChange(context, document, creationView, () => '');
  }
  if (context.options.output !== 'table') return writeList(context, document, snapshotView);
  context.say(creationText(document));
}

function creationText({ items, pause_seconds, changed }: SnapshotCreationDocument): string {
  const names = items.map(fullName);
  const [first] = names;
  const is = names.length === 1 ? 'is' : 'are';
  if (!changed) return `${names.join(', ')} ${is} there already`;
  const how = items[0]?.consistency === 'quiesced' ? 'quiesced' : 'crash-consistent';
  const point = names.length === 1 ? '' : ', at one point in time';
  return [
    `${names.join(', ')} ${is} there (${how}${point}); ${heldText(pause_seconds)}`,
    `  next:  varve volume clone ${first} NAME, varve export add ${first}, varve volume revert ${first}`,
  ].join('\n');
}

const creationView = {
  name: (creation: SnapshotCreationDocument) => creation.items.map(fullName).join('\n'),
  columns: () => [],
};

function fullName({ volume, name }: Pick<SnapshotItem, 'volume' | 'name'>): string {
  return `${volume}@${name}`;
}

async function list(
  context: Context,
  [volume]: [string | undefined],
  { tree }: { tree?: boolean },
): Promise<void> {
  const query = { volume: volume === undefined ? undefined : volumeTarget(volume) };
  const found = await context.client.list<{ items: SnapshotItem[] }>('/v1/snapshots', query);
  if (!tree || !context.isTable) return writeList(context, found, snapshotView);
  // Clones may have snapshots too, and belong into the picture.
  const all =
    volume === undefined ? found : await context.client.list<typeof found>('/v1/snapshots');
  const volumes = await context.client.list<{ items: VolumeItem[] }>('/v1/volumes');
  const involved = new Set(all.items.flatMap((item) => [item.volume, ...item.clones]));
  const shown = volumes.items.filter(({ name }) => name === volume || involved.has(name));
  const rows = treeRows(shown, all.items, volume);
  writeList(context, { items: rows }, treeView);
}

async function show(context: Context, [name]: [string]): Promise<void> {
  const { text } = snapshotTarget(name);
  const document = await context.client.get<SnapshotDocument>(path`/v1/snapshots/${text}`);
  writeOne(context, document, snapshotView);
  if (context.options.output !== 'table') return;
  const freed = context.size(document.exclusive_bytes);
  const shared = context.size(document.shared_bytes);
  context.say(`deleting it frees ${freed}; ${shared} are held together with others`);
}

/** Every page computes the whole: as few as the service allows. */
const extentsPerPage = 100_000;

async function diff(context: Context, [from, to]: [string, string | undefined]): Promise<void> {
  const { text, volume } = snapshotTarget(from);
  const until = to === undefined ? undefined : snapshotTarget(to);
  if (until !== undefined && until.volume !== volume) {
    throw usageError(`${from} and ${to} are not of one volume`, [
      'compare snapshots of one volume',
    ]);
  }
  const query = { to: until?.snapshot, limit: extentsPerPage };
  const address = path`/v1/snapshots/${text}/diff`;
  const found = await context.client.list<SnapshotDiffDocument>(address, query);
  if (context.json) return writeJson(context, found);
  context.write(
    table(
      [
        { title: 'OFFSET', right: true, value: (extent) => context.size(extent.offset_bytes) },
        { title: 'LENGTH', right: true, value: (extent) => context.size(extent.length_bytes) },
      ],
      found.items,
      { wide: false, bare: !context.options.header },
    ),
  );
  context.say(`${context.size(found.changed_bytes)} changed from ${found.from} to ${found.to}`);
}

async function rename(context: Context, [name, to]: [string, string]): Promise<void> {
  const { text } = snapshotTarget(name);
  const call = { method: 'PATCH', query: context.dryRun, body: { name: to } } as const;
  const answer = await context.client.call<SnapshotDocument>(path`/v1/snapshots/${text}`, call);
  writeChange(context, answer.document, snapshotView, ({ changed, volume }) =>
    changed ? `snapshot ${text} is now ${volume}@${to}` : `snapshot ${text} has that name already`,
  );
}

async function attachment(context: Context, [name]: [string]): Promise<void> {
  const { text } = snapshotTarget(name);
  const address = path`/v1/snapshots/${text}/attachment`;
  const found = await context.client.get<SnapshotAttachmentDocument>(address);
  if (context.json) writeJson(context, found);
  else context.write(found.attachment);
}

async function remove(
  context: Context,
  [names]: [string[]],
  options: { bookmark?: boolean; keepClones?: boolean },
): Promise<void> {
  for (const name of names) snapshotTarget(name);
  const what = names.length === 1 ? `snapshot ${names[0]}` : `${names.length} snapshots`;
  await confirmLoss(context, `deletes ${what}`);
  const { bookmark, keepClones: keep_clones } = options;
  const query = { ...context.dryRun, bookmark, keep_clones };
  const address = path`/v1/snapshots/${names.join(',')}`;
  const answer = await context.client.call<ResultDocument>(address, { method: 'DELETE', query });
  const freed = context.size(answer.document.freed_bytes);
  const is = names.length === 1 ? 'is' : 'are';
  const next = bookmark
    ? `\n  what changes since can still be told: varve snapshot diff ${names[0]}`
    : '';
  const sentence = `${names.join(', ')} ${is} gone; ${freed} come back in the background${next}`;
  writeResult(context, answer.document, sentence);
}

interface ScheduleOptions {
  keepLast?: string;
  keepHourly?: string;
  keepDaily?: string;
  keepWeekly?: string;
  every?: string;
}

async function setSchedule(
  context: Context,
  [volume]: [string | undefined],
  options: ScheduleOptions,
): Promise<void> {
  if (volume === undefined) throw usageError('which volume?', ['varve snapshot schedule VOLUME']);
  const body = {
    keep_last: count(options.keepLast),
    keep_hourly: count(options.keepHourly),
    keep_daily: count(options.keepDaily),
    keep_weekly: count(options.keepWeekly),
    every_seconds: options.every === undefined ? undefined : parseDuration(options.every) / 1000,
  };
  const call = { method: 'PUT', query: context.dryRun, body } as const;
  const address = path`/v1/schedules/${volumeTarget(volume)}`;
  const { document } = await context.client.call<ScheduleDocument>(address, call);
  writeChange(context, document, scheduleView, ({ changed, expiring = [], next_run_at }) => {
    const done = changed ? 'is snapshotted by itself' : 'was snapshotted like that already';
    const gone = expiring.length === 0 ? '' : `\n  will not be kept then: ${expiring.join(', ')}`;
    return `volume ${volume} ${done}, next at ${next_run_at}${gone}`;
  });
}

async function listSchedules(context: Context): Promise<void> {
  writeList(context, await context.client.list('/v1/schedules'), scheduleView);
}

async function removeSchedule(context: Context, [volume]: [string]): Promise<void> {
  const call = { method: 'DELETE', query: context.dryRun } as const;
  const address = path`/v1/schedules/${volumeTarget(volume)}`;
  const answer = await context.client.call<ResultDocument>(address, call);
  const sentence = `volume ${volume} is not snapshotted by itself any more; its snapshots stay`;
  writeResult(context, answer.document, sentence);
}

function count(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw usageError(`"${text}" is no number of snapshots`, ['write how many to keep: 7']);
}

function labels(texts: readonly string[]): Record<string, string> {
  const entries = texts.map((text) => {
    const at = text.indexOf('=');
    if (at > 0) return [text.slice(0, at), text.slice(at + 1)] as const;
    throw usageError(`"${text}" is no label`, ['write it as KEY=VALUE']);
  });
  return Object.fromEntries(entries);
}

/** As text: bytes that are none would come back as others. */
function content(file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file));
  } catch (error) {
    const reason = messageOf(error);
    throw usageError(`cannot attach ${file}: ${reason}`, [
      'name a file of UTF-8 text that can be read',
    ]);
  }
}
