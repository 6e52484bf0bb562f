// Goal: a client's process is told as the kernel knows it, with the guest's name that QEMU was given; nothing is made up.
// Method: command lines as people and libvirt write them; this process, one that is gone, and addresses without one.
import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { guestName, processOf } from '../../src/export/client-process.ts';

test.each([
  [['-name', 'web1'], 'web1'],
  [['-m', '512', '-name', 'guest=web1,debug-threads=on'], 'web1'],
  [['-name', 'debug-threads=on,guest=web1'], 'web1'],
  [['--name', 'web1,process=x'], 'web1'],
  [['-name', 'guest=a,,b'], 'a,b'],
  [['-name', 'debug-threads=on'], null],
  [['-name'], null],
  [[], null],
])('%j names %j', (words, name) => {
  expect(guestName(['qemu-system-x86_64', ...words])).toBe(name);
});

test('a process that is there is told, others are not', async () => {
  const program = basename(process.argv0);
  expect(await processOf(`unix:pid=${process.pid},uid=0`)).toEqual({
    pid: process.pid,
    program,
    guest: null,
  });
  const { pid } = spawnSync('true');
  for (const address of [`unix:pid=${pid},uid=0`, 'unix:pid=0,uid=65534', 'unix', '[::1]:4000']) {
    expect(await processOf(address), address).toBeNull();
  }
});
