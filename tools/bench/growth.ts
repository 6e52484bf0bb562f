/**
 * What grows with a disk's size, and by which law: memory of the map, start, snapshot, deletion, clones, page-table misses, making the map. And
 * what a service costs that idles.
 *
 *   npm run bench:growth                     1 GiB, 100 GiB and 1 TiB, every cluster mapped; some ten minutes
 *   npm run bench:growth -- --sizes 1,10240  others, in GiB: 10 TiB needs 6 GiB of memory, 30 GiB of disk and an hour
 *   npm run bench:growth -- --quick          1 and 10 GiB: a smoke test
 *   npm run bench:growth -- --only idle      or maps
 *   npm run bench:growth -- --json FILE      the figures as JSON, too
 *
 * The maps are synthetic (synthetic-map.ts), all code that meets them is the service's own.
 */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { numberAboveZero } from '../lib/options.ts';
import { growingMaps } from './chain-session.ts';
import { growthTable } from './growth-report.ts';
import { type IdleFigures, idleService } from './idle.ts';
import { table } from './report.ts';
import { scratchFolder } from './rounds.ts';
import { varveKinds } from './varve-chain.ts';

interface Options {
  readonly quick: boolean;
  readonly sizes?: readonly number[];
  readonly only: string;
  readonly json?: string;
}

const options = new Command('bench:growth')
  .description("what grows with a disk's size, and by which law; what an idle service costs")
  .option('--quick', '1 and 10 GiB: a smoke test', false)
  .option('--sizes <list>', 'in GiB, with commas between', (list) =>
    list.split(',').map(numberAboveZero),
  )
  .option('--only <part>', 'maps or idle', '')
  .option('--json <file>', 'the figures as JSON, too')
  .parse()
  .opts<Options>();

const sizes = options.sizes ?? (options.quick ? [1, 10] : [1, 100, 1024]);
const document: Record<string, unknown> = {};

if ('maps'.includes(options.only)) {
  const [varve] = varveKinds;
  if (varve === undefined) throw new Error('there is varve');
  const plan = {
    folder: scratchFolder(),
    depths: [],
    mappedGiB: sizes,
    spanMiB: 1024,
    runtimeSeconds: 1,
  };
  const figures = await growingMaps(varve, plan);
  process.stdout.write(table(growthTable(figures, sizes)));
  document.maps = Object.fromEntries(figures);
}
if ('idle'.includes(options.only)) {
  const idle = await idleService(options.quick ? 5 : 30);
  process.stdout.write(table(idleTable(idle)));
  document.idle = { ...idle, wakeUps: Object.fromEntries(idle.wakeUps) };
}
if (options.json !== undefined) {
  writeFileSync(options.json, `${JSON.stringify(document, null, 2)}\n`);
}

function idleTable({ corePercent, residentMiB, wakeUps }: IdleFigures): string[][] {
  return [
    ['idle service', '', 'goal'],
    ['of a core, %', corePercent.toFixed(2), '< 0.2'],
    ['resident, MiB', residentMiB.toFixed(0), '< 80'],
    ...[...wakeUps].map(([thread, rate]) => [`wake-ups of ${thread}, 1/s`, rate.toFixed(1), '']),
  ];
}
