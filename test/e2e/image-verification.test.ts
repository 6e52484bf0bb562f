// Goal: the second pass of `image load` and `image save` finds a copy that is not equal to its source: nothing gets the name then, and what had it keeps it;
//   a volume that was served meanwhile says so.
// Method: a source that gives every connection bytes of its own, so that the second pass reads others than the first; a qemu-img that hurts the
//   file between the passes, as a disk that keeps something else would.
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import { Daemon } from '../../tools/lib/daemon.ts';
import { adoptedDisks, diskService } from './disk-service.ts';

const { start, undo } = diskService();

const differs = /the copy is not equal to it[\s\S]*image\/io/;

/** A disk of 256 KiB whose every byte is one that the connection is known by; two in a row are never alike. @returns its URI */
async function serveFickleDisk(folder: string): Promise<string> {
  const [socket, count] = [join(folder, 'fickle.sock'), join(folder, 'connections')];
  writeFileSync(count, '');
  const script = [
    'get_size=echo 262144',
    // One line per connection; what is printed is the connection's handle.
    `open=echo >> ${count}; wc -l < ${count}`,
    'pread=yes "$(printf %07d "$2")" | head -c "$3"',
  ];
  const server = new Daemon('nbdkit', ['-f', '-r', '-U', socket, 'eval', ...script]).drainOutput();
  undo.add(() => server.end('SIGKILL'));
  await server.until(async () => existsSync(socket));
  return `nbd+unix:///?socket=${socket}`;
}

/** A folder with a qemu-img that writes to the second file of a comparison before it compares. */
function hurtingTools(): string {
  const folder = mkdtempSync(join(tmpdir(), 'varve-tools-'));
  undo.add(() => run('rm', ['-r', folder]));
  const tool = join(folder, 'qemu-img');
  const path = process.env.PATH;
  const hurt = 'for file; do :; done; qemu-io -f raw -c "write -q -P 9 100k 1k" "$file" >&2';
  const lines = ['#!/bin/sh', `PATH='${path}'`, `if [ "$1" = compare ]; then ${hurt}; fi`];
  writeFileSync(tool, [...lines, 'exec qemu-img "$@"', ''].join('\n'));
  chmodSync(tool, 0o755);
  return folder;
}

test('a source that changes between the passes becomes no volume', async () => {
  const here = await start();
  await here.createPool('256MiB');
  const source = await serveFickleDisk(here.folder);
  const { status, stderr } = await here.outcome(['image', 'load', source, 'v', '--format', 'raw']);
  expect([status, stderr]).toEqual([1, expect.stringMatching(differs)]);
  expect((await here.varve('volume', 'list')).items).toEqual([]);
});

test('served while it is loaded, it is there, said not to be trusted, and keeps what it reads from', async () => {
  const here = await start();
  await here.createPool('256MiB');
  const source = await serveFickleDisk(here.folder);
  const load = ['image', 'load', source, 'v', '--format', 'raw', '--serve'];
  const { status, stderr } = await here.outcome(load);
  expect([status, stderr]).toEqual([
    1,
    expect.stringMatching(/not equal to it; volume v is there/),
  ]);
  expect(await adoptedDisks(here)).toEqual([source]);
  await here.varve('volume', 'delete', 'v');
  await expect.poll(() => adoptedDisks(here), { timeout: 60_000 }).toEqual([]);
});

test('a file that does not hold what was saved is not kept, and takes the place of no other', async () => {
  const env = { ...process.env, PATH: `${hurtingTools()}${delimiter}${process.env.PATH}` };
  const here = await start({ env });
  await here.createPool('256MiB');
  const uri = await here.createExportedVolume('v', '16MiB');
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 5 0 1M', uri]);
  const image = join(here.folder, 'v.raw');
  const save = ['image', 'save', 'v', image, '--format', 'raw'];
  const first = await here.outcome(save);
  expect([first.status, first.stderr]).toEqual([1, expect.stringMatching(differs)]);
  writeFileSync(image, 'of another day');
  const second = await here.outcome([...save, '--force', '--yes']);
  expect([second.status, second.stderr]).toEqual([1, expect.stringMatching(differs)]);
  expect(readFileSync(image, 'utf8')).toBe('of another day');
  expect(readdirSync(here.folder).filter((name) => name.startsWith('v.raw'))).toEqual(['v.raw']);
  expect((await here.varve('snapshot', 'list')).items).toEqual([]);
});
