/**
 * How long guests wait when the service is restarted, reloaded or killed under systemd, and where that time goes.
 *
 *   npm run bench:restart                       a small map, five rounds
 *   npm run bench:restart -- --sizes 0,100,1024 also 100 GiB and 1 TiB, every cluster mapped (synthetic-map.ts)
 *   npm run bench:restart -- --rounds 3 --json FILE
 *
 * A guest is a libnbd client that works all the time (stalls.py): its wait is the longest time without an answer. Root; the unit is the one that we ship.
 */
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { run } from '../lib/command.ts';
import { wholeNumber } from '../lib/options.ts';
import { UnitService } from '../lib/systemd/unit-service.ts';
import { median } from './compare.ts';
import { table } from './report.ts';
import { momentsIn, type Phases, phasesOf } from './restart-phases.ts';
import { StalledGuest } from './stalled-guest.ts';

const { sizes, rounds, json } = new Command('bench:restart')
  .description('how long guests wait for a restart, a reload and after a kill')
  .option('--sizes <gib>', 'maps, in GiB, with commas; 0: a small disk', wholeNumbers, [0])
  .option('--rounds <n>', 'of each', wholeNumber, 5)
  .option('--json <file>', 'the figures as JSON, too')
  .parse()
  .opts<{ readonly sizes: readonly number[]; readonly rounds: number; readonly json?: string }>();
const synthesizer = resolve(import.meta.dirname, 'synthetic-map.ts');
const synthesisMs = 3_600_000;
const volume = 'disk';

/** What is done to the service; it serves again when the command has ended, or soon after. */
const ways = {
  restart: (service: UnitService) => service.systemctl('restart'),
  reload: (service: UnitService) => service.systemctl('reload'),
  'kill -9': (service: UnitService) => service.systemctl('kill', '--signal=KILL'),
} as const;
type Way = keyof typeof ways;

interface Measured {
  readonly sizeGiB: number;
  readonly way: Way;
  readonly stallMs: number;
  readonly reconnected: boolean;
  readonly phases: Phases;
}

const measured: Measured[] = [];
for (const sizeGiB of sizes) {
  const service = await UnitService.start();
  try {
    await prepare(service, sizeGiB);
    for (const way of Object.keys(ways) as Way[]) {
      for (let round = 0; round < rounds; round++) {
        measured.push({ sizeGiB, way, ...(await measure(service, way)) });
        process.stderr.write(`${JSON.stringify(measured.at(-1))}\n`);
      }
    }
  } finally {
    await service.dispose();
  }
}
process.stdout.write(`load of the machine at the end: ${(loadavg()[0] ?? 0).toFixed(1)}\n`);
process.stdout.write(table([header(), ...rows()]));
if (json !== undefined) {
  writeFileSync(json, `${JSON.stringify(measured, null, 2)}\n`);
}

function wholeNumbers(text: string): number[] {
  return text.split(',').map(wholeNumber);
}

/** @param sizeGiB every cluster of it is mapped; 0: of a small disk nothing is */
async function prepare(service: UnitService, sizeGiB: number): Promise<void> {
  const size = sizeGiB === 0 ? 1 : sizeGiB;
  await service.createPool(`${3 * size}GiB`);
  await service.createExportedVolume(volume, `${size}GiB`);
  if (sizeGiB === 0) return;
  await service.systemctl('stop');
  const program = ['--import', 'tsx', synthesizer, service.state, volume];
  await run(process.execPath, program, { timeoutMs: synthesisMs });
  await service.systemctl('start');
}

async function measure(service: UnitService, way: Way) {
  const guest = new StalledGuest(service.uri(volume));
  try {
    await guest.progress();
    const beganMs = Date.now();
    await ways[way](service);
    await guest.progress();
    const { fromMs, toMs, connections } = guest.longestStall(beganMs);
    const moments = momentsIn(service.log, beganMs);
    const phases = phasesOf({ ...moments, began: fromMs, answered: toMs });
    return { stallMs: toMs - fromMs, reconnected: connections > 1, phases };
  } finally {
    await guest.end();
  }
}

function header(): string[] {
  return ['', 'wait ms', 'least–most', 'connections', ...Object.keys(measured[0]?.phases ?? {})];
}

function rows(): string[][] {
  const groups = new Map<string, Measured[]>();
  for (const one of measured) {
    const size = one.sizeGiB === 0 ? 'small' : `${one.sizeGiB} GiB mapped`;
    const name = `${one.way}, ${size}`;
    groups.set(name, [...(groups.get(name) ?? []), one]);
  }
  return [...groups].map(([name, of]) => [name, ...cells(of)]);
}

function cells(of: readonly Measured[]): string[] {
  const stalls = of.map(({ stallMs }) => stallMs);
  const [first] = of;
  const phases = Object.keys(first?.phases ?? {}) as (keyof Phases)[];
  return [
    median(stalls).toFixed(0),
    `${Math.min(...stalls).toFixed(0)}–${Math.max(...stalls).toFixed(0)}`,
    of.some(({ reconnected }) => reconnected) ? 'lost' : 'kept',
    ...phases.map((phase) => {
      const known = of.flatMap(({ phases: { [phase]: ms } }) => (ms === undefined ? [] : [ms]));
      return known.length === 0 ? '' : median(known).toFixed(0);
    }),
  ];
}
