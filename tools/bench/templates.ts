/**
 * Guests from a template: how long twenty linked clones take to be made and their guests to start, and what each start reads from the backing disk.
 *
 *   npm run bench:templates                     twenty guests, one after the other
 *   npm run bench:templates -- --guests 3       fewer, or more
 *   npm run bench:templates -- --json FILE      every start as JSON, too
 *
 * The template's blocks are not in the page cache when the first guest starts.
 */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { forgetCached } from '../lib/disk-reads.ts';
import { wholeNumber } from '../lib/options.ts';
import { Service } from '../lib/service.ts';
import { median } from './compare.ts';
import { table } from './report.ts';
import { makeClones, makeTemplate, type Start, startOnce } from './template-guests.ts';

const options = new Command('bench:templates')
  .description('guests started from linked clones of one template')
  .option('--guests <n>', 'fewer, or more', wholeNumber, 20)
  .option('--json <file>', 'every start as JSON, too')
  .parse()
  .opts<{ readonly guests: number; readonly json?: string }>();
const names = Array.from({ length: options.guests }, (_, at) => `guest${at + 1}`);
const MiB = 2 ** 20;

const service = await Service.start();
try {
  const disks = await service.createPool('4GiB');
  await service.createExportedVolume('golden', '256MiB');
  await makeTemplate(service);
  const clonesSeconds = await makeClones(service, names);
  for (const disk of disks) await forgetCached(disk);
  const starts: Start[] = [];
  for (const name of names) {
    starts.push(await startOnce(service, name));
    process.stderr.write(`${name} ${JSON.stringify(starts.at(-1))}\n`);
  }
  const own = (await service.varve('volume', 'list')).items ?? [];
  const cloneBytes = own.flatMap(({ name, exclusive_bytes: bytes }) =>
    name === 'golden' ? [] : [Number(bytes)],
  );
  const [first, ...later] = starts;
  if (first === undefined) throw new Error('no guest was started');
  const rows = [
    ['first guest', first] as const,
    ...(later.length > 0 ? [['later, median', middle(later)] as const] : []),
  ];
  process.stdout.write(`${names.length} clones, exported, in ${clonesSeconds.toFixed(2)} s\n`);
  process.stdout.write(
    table([
      ['', 'start s', 'guest read MiB', 'from the disk MiB'],
      ...rows.map(([name, start]) => [name, ...cells(start)]),
    ]),
  );
  process.stdout.write(`of its own, per clone: ${(median(cloneBytes) / MiB).toFixed(2)} MiB\n`);
  if (options.json !== undefined) {
    writeFileSync(
      options.json,
      `${JSON.stringify({ clonesSeconds, starts, cloneBytes }, null, 2)}\n`,
    );
  }
} finally {
  await service.dispose();
}

function cells({ seconds, readBytes, diskReadBytes }: Start): string[] {
  return [seconds.toFixed(1), (readBytes / MiB).toFixed(1), (diskReadBytes / MiB).toFixed(1)];
}

function middle(starts: readonly Start[]): Start {
  const of = (figure: keyof Start) => median(starts.map((start) => start[figure]));
  return { seconds: of('seconds'), readBytes: of('readBytes'), diskReadBytes: of('diskReadBytes') };
}
