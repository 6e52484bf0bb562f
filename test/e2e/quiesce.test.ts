// Goal: a real guest stands still while it is frozen, with its filesystem clean on the disk, and goes on afterwards.
// Method: Debian's qemu-ga in a guest that writes ext4 all the time; copies of its disk are judged by e2fsck, and the
//   guest is thawed early, by us and behind our back.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withFrozenGuest } from '../../src/snapshot/guest-agent.ts';
import { outcomeOf, run } from '../../tools/lib/command.ts';
import { agentPort, startAgent } from './guest/agent.ts';
import { Guest } from './guest/guest.ts';
import { Writer } from './guest/writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'varve-quiesce-'));
const disk = join(folder, 'disk.img');
const socket = join(folder, 'agent.sock');
const patience = { socket, timeoutMs: 30_000 };

let guest: Guest;
let writer: Writer;

beforeAll(async () => {
  await run('qemu-img', ['create', '-q', '-f', 'raw', disk, '256M']);
  const node = `driver=raw,node-name=disk,file.driver=file,file.filename=${disk}`;
  guest = await Guest.boot({
    folder: mkdtempSync(join(folder, 'guest-')),
    diskArguments: ['-blockdev', node, '-device', 'virtio-blk-pci,drive=disk'],
    equipment: [agentPort(socket)],
  });
  await startAgent(guest);
  await guest.run('/sbin/mke2fs -t ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt');
  writer = await Writer.start(guest);
});
afterAll(async () => {
  await guest?.kill();
  rmSync(folder, { recursive: true });
});

/** Copies the disk as it is now. @returns what e2fsck says about the copy, without mending anything */
async function judgedCopy(name: string): Promise<string> {
  const copy = join(folder, name);
  copyFileSync(disk, copy);
  const { status, stdout } = await outcomeOf('/sbin/e2fsck', ['-f', '-n', copy]);
  return `${status}\n${stdout}`;
}

test('writes stop while the guest is frozen, its filesystem is clean, and they go on after the thaw', async () => {
  await writer.progress();
  await withFrozenGuest(patience, async ({ filesystems }) => {
    expect(filesystems).toBe(1);
    // The file that was under way when the guest froze may still be counted.
    await delay(500);
    const before = await writer.filesWritten();
    const judgement = await judgedCopy('frozen.img');
    await delay(2000);
    expect(await writer.filesWritten()).toBe(before);
    expect(judgement).toMatch(/^0\n/);
    expect(judgement).not.toMatch(/recover/i);
  });
  await writer.progress();
  expect(await judgedCopy('running.img')).toMatch(/recover/i);
});

test('when the time is over the guest is thawed at once, and the work does not count', async () => {
  await writer.progress();
  const ended = withFrozenGuest({ socket, timeoutMs: 1500 }, async ({ signal }) => {
    while (!signal.aborted) await delay(20);
    await writer.progress();
  });
  await expect(ended).rejects.toMatchObject({
    code: 'snapshot/quiesce',
    message: expect.stringContaining('thawed before the work had ended'),
  });
});

test('a guest that thawed behind our back is not called quiesced', async () => {
  const ended = withFrozenGuest(patience, () => guest.run('fsfreeze --unfreeze /mnt'));
  await expect(ended).rejects.toMatchObject({
    code: 'snapshot/quiesce',
    message: expect.stringContaining('0 of 1 filesystems were still frozen'),
  });
  await writer.progress();
});

test('while one holds the agent another waits in vain, and harms nothing', async () => {
  await withFrozenGuest(patience, async () => {
    const other = withFrozenGuest({ socket, timeoutMs: 500 }, async () => {});
    await expect(other).rejects.toMatchObject({ code: 'snapshot/quiesce' });
  });
  await writer.progress();
});

test('what a client before left behind is skipped', async () => {
  const client = connect(socket);
  client.write('{"execute":"guest-info"}\n{"execute":"guest-get-time"}\n{"execute":"gue');
  await delay(300);
  client.destroy();
  expect(await withFrozenGuest(patience, async ({ filesystems }) => filesystems)).toBe(1);
  await writer.progress();
});

test('at the end the guest knows of no failed write', async () => {
  expect(await writer.stop()).toBe('');
  expect(await guest.ioErrors()).toBe('');
});
