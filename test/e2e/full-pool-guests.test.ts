// Goal: guests on a full pool see no error: what needs space waits, what they have goes on being read and overwritten, and they go on when
//   a snapshot is deleted, when one of them trims, when a disk is added.
// Method: guests in QEMU, attached as `varve export qemu` says, fill disks of together more than the pool holds, past their caches, and read everything
//   back in the end. Full is when the service says that writes wait. Two guests; GUESTS=10 for ten (npm run full-pool-guests).
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Service } from '../../tools/lib/service.ts';
import { diskService, expectSoundDisks, MiB, qemuIo } from './disk-service.ts';
import { ChunkWriter, chunkBytes } from './guest/chunk-writer.ts';
import { Guest } from './guest/guest.ts';

const guestCount = Number(process.env.GUESTS ?? 2);
/** Emulated guests on a busy host: only what hangs is an error. */
const settleMs = 120_000 + guestCount * 30_000;
/** What a deletion and a trim give back, each: more than every guest has of a chunk that it has begun. */
const oldMib = 2 * guestCount;

const { start, undo } = diskService();

async function boot(here: Service, exports: readonly string[]): Promise<Guest> {
  const attachments = await Promise.all(exports.map((name) => here.varve('export', 'qemu', name)));
  const guest = await Guest.boot({
    folder: mkdtempSync(join(here.folder, 'guest-')),
    diskArguments: attachments.flatMap((each) => each.qemu_arguments as string[]),
  });
  undo.add(() => guest.kill());
  return guest;
}

/** Writes of guests that wait for space, as the pool's warning has it. */
async function heldWrites(here: Service): Promise<number> {
  const { warnings } = await here.rest('GET', '/v1/pools/main');
  const texts = (warnings as { message: string }[]).map(({ message }) => message).join('\n');
  return Number(/(\d+) writes? waits? for space/.exec(texts)?.[1] ?? 0);
}

/** Every guest waits for space, none for anything else. */
async function untilAllWait(here: Service): Promise<void> {
  await expect
    .poll(() => heldWrites(here), { timeout: settleMs, interval: 100 })
    .toBeGreaterThanOrEqual(guestCount);
}

async function sum(numbers: readonly Promise<number>[]): Promise<number> {
  return (await Promise.all(numbers)).reduce((total, number) => total + number, 0);
}

test(`${guestCount} guests on a full pool go on when space comes`, {
  timeout: 3 * settleMs + guestCount * 120_000,
}, async () => {
  const here = await start();
  const [disk = ''] = await here.createPool(`${16 + 2 * oldMib}MiB`);
  await here.varve('pool', 'set', 'main', '--patience', '1h');
  const old = await here.createExportedVolume('old', `${oldMib}MiB`);
  await qemuIo(old, `write -P 1 0 ${oldMib}M`);
  await here.varve('snapshot', 'create', 'old@s');
  await qemuIo(old, `write -P 2 0 ${oldMib}M`, 'flush');
  const { free_bytes: free } = await here.rest('GET', '/v1/pools/main');
  // More than there is until the disk comes, whoever is the fastest.
  const chunks = Math.ceil(Number(free) / chunkBytes) + 2 * oldMib + 1;
  const names = Array.from({ length: guestCount }, (_, at) => `guest${at}`);
  for (const name of names) await here.createExportedVolume(name, `${chunks}MiB`);
  const guests: Guest[] = [];
  for (const [at, name] of names.entries()) {
    guests.push(await boot(here, at === 0 ? [name, 'old'] : [name]));
  }
  const writers = await Promise.all(
    guests.map((guest, at) => ChunkWriter.start(guest, names[at] as string, chunks)),
  );
  const written = () => sum(writers.map((writer) => writer.written()));

  await untilAllWait(here);
  await Promise.all(writers.map((writer) => writer.rewriteFirst()));
  const atFirst = await written();
  await here.varve('snapshot', 'delete', 'old@s');
  await expect.poll(written, { timeout: settleMs, interval: 200 }).toBeGreaterThan(atFirst);

  await untilAllWait(here);
  await Promise.all(writers.map((writer) => writer.rewriteFirst()));
  const atSecond = await written();
  await guests[0]?.run('blkdiscard /dev/vdb');
  await expect.poll(written, { timeout: settleMs, interval: 200 }).toBeGreaterThan(atSecond);

  await untilAllWait(here);
  await Promise.all(writers.map((writer) => writer.rewriteFirst()));
  const more = join(here.folder, 'more.img');
  const moreMib = 64 + Math.ceil((guestCount * chunks * chunkBytes) / MiB);
  await here.varve('disk', 'add', 'main', `file:${more}?size=${moreMib}MiB`);
  for (const writer of writers) {
    await expect.poll(() => writer.hasEnded(), { timeout: settleMs, interval: 200 }).toBe(true);
  }
  for (const [at, writer] of writers.entries()) {
    expect(await writer.failures(), names[at]).toBe('');
    expect(await writer.isWhole(), names[at]).toBe(true);
    expect(await guests[at]?.ioErrors(), names[at]).toBe('');
    await guests[at]?.powerOff();
  }
  await expectSoundDisks(here, [disk, more]);
});
