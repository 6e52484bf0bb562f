/**
 * varve pool …
 */
import type { Command } from 'commander';
import type {
  CheckReportDocument,
  PlanDocument,
  PoolDocument,
  ResultDocument,
} from '../../api/schemas.ts';
import { parseSize } from '../../base/size.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { diskUris, secretFileOption } from '../disk-secret.ts';
import { formatDuration, parseDuration } from '../duration.ts';
import { CommandError, exitDamage, usageError } from '../errors.ts';
import { writeChange, writeJson, writeList, writeOne, writeResult } from '../output.ts';
import { salvage } from '../salvage.ts';
import { scrub } from '../scrub.ts';
import { table } from '../table.ts';
import { does } from '../verb.ts';
import { poolView } from '../views.ts';
import { beginMovement } from '../wait.ts';

export function addPoolNoun(program: Command): void {
  const pool = program.command('pool').description('pools of backing disks');

  pool
    .command('create <name> <disk-uri...>')
    .description('make a pool on disks: /path?size=100GiB, block:/dev/sdb')
    .option('--cluster-size <size>', 'unit of allocation, a power of two (default: 64KiB)')
    .option('--patience <time>', 'how long requests wait for a disk or for space (default: 60s)')
    .option('--force', 'overwrite whatever the disks carry')
    .option(...secretFileOption)
    .action(does(create));
  pool
    .command('set <name>')
    .description('change settings of a pool that serves')
    .requiredOption('--patience <time>', 'how long requests wait for a disk or for space')
    .action(does(set));
  pool.command('list').alias('ls').description('all pools').action(does(list));
  pool.command('show <name>').description('one pool').action(does(show));
  pool
    .command('delete <name>')
    .alias('rm')
    .description('delete an empty pool; its disks are free again')
    .action(does(remove));
  pool
    .command('rebalance <name>')
    .description('make disks of one class equally full, while guests run')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(rebalance));
  pool
    .command('scrub <name>')
    .description('read and verify everything, while guests run; exit 7 on damage')
    .option('--rate <rate>', 'as 200MiB/s: no faster than that')
    .action(does(scrubPool));
  pool
    .command('export <name>')
    .description('let go cleanly, so that another host may import')
    .option('--disconnect', 'also when clients are connected: they may reconnect elsewhere')
    .action(does(letGo));
  pool
    .command('import <disk-uri...>')
    .description('take a pool from its disks alone')
    .option('--takeover', 'although its last owner may be alive')
    .option('--read-only', 'also with disks missing: to be read; nothing is written to any disk')
    .option(...secretFileOption)
    .action(does(take));
  pool
    .command('check <name-or-disk-uri...>')
    .description('verify a pool; exit 7 on damage')
    .option('--offline', 'read the disks themselves, no service needed')
    .action(does(check));
  pool
    .command('salvage <disk-uri...>')
    .description('what can be copied out of disks, damaged or not; no service needed')
    .option('--volume <name>', 'copy this one: VOLUME or VOLUME@SNAPSHOT')
    .option('--to <file>', 'into this new file, raw and sparse; exit 7 when something is missing')
    .action(does(salvage));
}

async function scrubPool(
  context: Context,
  [name]: [string],
  options: { rate?: string },
): Promise<void> {
  await scrub(context, path`/v1/pools/${name}`, options);
}

async function rebalance(
  context: Context,
  [name]: [string],
  { rate }: { rate?: string },
): Promise<void> {
  const address = path`/v1/pools/${name}`;
  await beginMovement(context, `${address}/actions/rebalance`, { rate }, async () => {
    const pool = await context.client.get<PoolDocument>(address);
    writeChange(context, pool, poolView, () => `the disks of pool ${name} are about equally full`);
  });
}

async function create(
  context: Context,
  [name, uris]: [string, string[]],
  options: { clusterSize?: string; patience?: string; force?: boolean; secretFile?: string },
): Promise<void> {
  const { clusterSize, patience, force } = options;
  const body = {
    disks: await diskUris(uris, options.secretFile),
    cluster_size_bytes: clusterSize === undefined ? undefined : parseSize(clusterSize),
    patience_seconds: patience === undefined ? undefined : wholeSeconds(patience),
    force,
  };
  if (force) await confirmLoss(context, `overwrites ${uris.join(', ')}`);
  const call = { method: 'PUT', query: context.dryRun, body } as const;
  const answer = await context.client.call<PoolDocument>(path`/v1/pools/${name}`, call);
  writeChange(context, answer.document, poolView, (pool) =>
    pool.changed
      ? `pool ${name} is there: ${context.size(pool.capacity_bytes)} on ${pool.disks.length} disk(s)`
      : `pool ${name} was there already`,
  );
}

async function set(
  context: Context,
  [name]: [string],
  { patience }: { patience: string },
): Promise<void> {
  const body = { patience_seconds: wholeSeconds(patience) };
  const call = { method: 'PATCH', query: context.dryRun, body } as const;
  const answer = await context.client.call<PoolDocument>(path`/v1/pools/${name}`, call);
  writeChange(context, answer.document, poolView, (pool) => {
    return `pool ${name} waits ${formatDuration(1000 * pool.patience_seconds)} for a disk that fails, or for space`;
  });
}

function wholeSeconds(duration: string): number {
  return Math.round(parseDuration(duration) / 1000);
}

async function list(context: Context): Promise<void> {
  writeList(context, await context.client.list('/v1/pools'), poolView);
}

async function show(context: Context, [name]: [string]): Promise<void> {
  writeOne(context, await context.client.get<PoolDocument>(path`/v1/pools/${name}`), poolView);
}

async function remove(context: Context, [name]: [string]): Promise<void> {
  await confirmLoss(context, `deletes pool ${name}`);
  const call = { method: 'DELETE', query: context.dryRun } as const;
  const answer = await context.client.call<ResultDocument>(path`/v1/pools/${name}`, call);
  writeResult(context, answer.document, `pool ${name} is gone`);
}

async function letGo(
  context: Context,
  [name]: [string],
  { disconnect }: { disconnect?: boolean },
): Promise<void> {
  const call = { method: 'POST', query: { ...context.dryRun, disconnect } } as const;
  const address = path`/v1/pools/${name}/actions/export`;
  const answer = await context.client.call<ResultDocument>(address, call);
  writeResult(context, answer.document, `pool ${name} may be imported elsewhere`);
}

interface ImportOptions {
  readonly takeover?: boolean;
  readonly readOnly?: boolean;
  readonly secretFile?: string;
}

async function take(
  context: Context,
  [uris]: [string[]],
  { takeover, readOnly, secretFile }: ImportOptions,
): Promise<void> {
  const disks = await diskUris(uris, secretFile);
  const body = { disks, takeover, read_only: readOnly };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const answer = await context.client.call<PoolDocument | PlanDocument>(
    '/v1/pools/actions/import',
    call,
  );
  writeChange(context, answer.document, poolView, ({ name }) =>
    readOnly
      ? `pool ${name} can be read; nothing of it is written\n  next:  varve volume list, varve export add VOLUME --read-only`
      : `pool ${name} is imported`,
  );
}

async function check(
  context: Context,
  [targets]: [string[]],
  { offline }: { offline?: boolean },
): Promise<void> {
  const report = offline
    ? await checkOffline(await diskUris(targets, undefined))
    : await checkOnline(context, targets);
  writeReport(context, report);
  const damage = report.findings.filter((finding) => finding.severity === 'damage').length;
  if (damage === 0) return;
  throw new CommandError(
    'pool/damaged',
    `pool ${report.pool} is damaged: ${damage} finding(s)`,
    exitDamage,
    ['restore from a backup what the findings name'],
  );
}

async function checkOnline(context: Context, targets: string[]): Promise<CheckReportDocument> {
  const [name] = targets;
  if (name === undefined || targets.length > 1) {
    throw usageError('one pool is checked at a time', ['varve pool check --offline DISK-URI...']);
  }
  const call = { method: 'POST' } as const;
  const address = path`/v1/pools/${name}/actions/check`;
  return (await context.client.call<CheckReportDocument>(address, call)).document;
}

async function checkOffline(uris: string[]): Promise<CheckReportDocument> {
  const { checkOfflineDocument } = await import('../../api/offline.ts');
  return checkOfflineDocument(uris);
}

function writeReport(context: Context, report: CheckReportDocument): void {
  if (context.json) writeJson(context, report);
  else context.write(findingsText(context, report));
  const { clusters_checked: clusters, leaves_checked: leaves, records_checked: records } = report;
  context.say(
    `pool ${report.pool}: ${clusters} clusters, ${leaves} leaves, ${records} records checked, ` +
      `${report.findings.length} finding(s)`,
  );
}

function findingsText(context: Context, report: CheckReportDocument): string {
  return table(
    [
      { title: 'SEVERITY', value: (finding) => finding.severity },
      { title: 'CODE', value: (finding) => finding.code },
      { title: 'WHERE', value: (finding) => finding.where },
      { title: 'MESSAGE', value: (finding) => finding.message },
    ],
    report.findings,
    { wide: false, bare: !context.options.header },
  );
}
