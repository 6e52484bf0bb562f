// Goal: clones of a template share its blocks in the page cache too: what one has read, the others need no disk for; what one writes, nobody else sees.
// Method: the kernel's count of what the service reads from disks, with the page cache made to forget the template before the first clone is read.
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import { bytesFromDisks, forgetCached } from '../../tools/lib/disk-reads.ts';
import { Service } from '../../tools/lib/service.ts';
import { expectIdentical, MiB, qemuIo } from './disk-service.ts';

const sizeMiB = 32;
const clones = ['one', 'two', 'three'];

let service: Service;
let disk: string;
let image: string;

beforeAll(async () => {
  service = await Service.start();
  [disk = ''] = await service.createPool('256MiB');
  const golden = await service.createExportedVolume('golden', `${sizeMiB}MiB`);
  image = join(service.folder, 'image.raw');
  writeFileSync(image, randomBytes(sizeMiB * MiB));
  await run('nbdcopy', ['--flush', image, golden]);
  await service.varve('snapshot', 'create', 'golden@v1');
  for (const clone of clones) {
    await service.varve('volume', 'clone', 'golden@v1', clone);
    await service.varve('export', 'add', clone);
  }
});
afterAll(() => service?.dispose());

/** What the service reads from its disk while somebody reads the whole clone. */
async function diskReadsFor(clone: string): Promise<number> {
  const before = bytesFromDisks(service.pid);
  await run('nbdcopy', [service.uri(clone), 'null:']);
  return bytesFromDisks(service.pid) - before;
}

test('what the first clone brought in, the others read from memory', async () => {
  const [first, ...others] = clones;
  const fromDisk = async () => {
    await forgetCached(disk);
    return diskReadsFor(String(first));
  };
  // Again, if it was just then that the service read the template to seal it, which it does once.
  await expect.poll(fromDisk, { timeout: 60_000 }).toBeGreaterThan(0.9 * sizeMiB * MiB);
  for (const clone of others) {
    expect(await diskReadsFor(clone)).toBeLessThan(0.5 * sizeMiB * MiB);
  }
});

test('what a clone writes is its own', async () => {
  await qemuIo(service.uri('one'), 'write -P 7 1M 1M');
  await service.varve('export', 'add', 'golden@v1');
  for (const name of ['two', 'three', 'golden', 'golden-v1']) {
    await expectIdentical(service.uri(name), image);
  }
  await qemuIo(service.uri('one'), 'read -P 7 1M 1M');
});
