// Goal: qemu-img ends with the service that runs it, be it that the service was killed while it had qemu-img stopped; and is told apart when it is not there.
// Method: a process that runs it, stops it at the first sign of progress, and is killed; the real qemu-img on a sparse file.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import { qemuImg } from '../../src/image/qemu-img.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-image-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Processes whose command line names the folder, as `state name`. */
function runningThere(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)) return [];
        const [, name, state] =
          /\((.*)\) (.)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
        return name === 'qemu-img' ? [`${state} ${name}`] : [];
      } catch {
        return [];
      }
    });
}

test('stopped in the middle, it ends with the process that ran it', async () => {
  const images = ['a', 'b'].map((name) => join(folder, name));
  for (const image of images) {
    writeFileSync(image, Buffer.alloc(MiB, 1));
    truncateSync(image, 64 * MiB);
  }
  const args = ['compare', '-p', '-f', 'raw', '-F', 'raw', ...images];
  const watch =
    '{ report() {}, whileRunning: () => new Promise(() => {}), signal: new AbortController().signal }';
  const program = `const { qemuImg } = await import(${JSON.stringify(new URL('../../src/image/qemu-img.ts', import.meta.url).href)});
    setInterval(() => {}, 1000);
    await qemuImg(${JSON.stringify(args)}, ${watch});`;
  const owner = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    stdio: 'inherit',
  });
  await expect.poll(runningThere, { interval: 20, timeout: 20_000 }).toEqual(['T qemu-img']);
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  await expect.poll(runningThere, { interval: 20, timeout: 5_000 }).toEqual([]);
});

test('one that is not there is named', async () => {
  const { PATH } = process.env;
  // Where setpriv is, and nothing else.
  process.env.PATH = folder;
  symlinkSync('/usr/bin/setpriv', join(folder, 'setpriv'));
  try {
    await expect(qemuImg(['--version'])).rejects.toMatchObject({
      code: 'image/tool',
      message: expect.stringContaining('qemu-img'),
    });
  } finally {
    process.env.PATH = PATH;
  }
});
