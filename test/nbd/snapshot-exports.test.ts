// Goal: an incremental backup through nothing but NBD: a snapshot is served as it was, with what changed since another,
//   to the programs of the field, also after a crash; and a scratch of it takes writes that nobody else sees.
// Method: one real service; what was written is known, so extents are compared exactly and contents by qemu-io's patterns.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { outcomeOf, run } from '../../tools/lib/command.ts';
import { Service } from '../../tools/lib/service.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const changedReader = join(import.meta.dirname, 'changed-reader.py');

let service: Service;

/** @throws Error when the export cannot be opened, or something that is read is not what it should be */
async function qemuIo(name: string, ...commands: string[]): Promise<void> {
  const readOnly = commands.every((each) => each.startsWith('read')) ? ['-r'] : [];
  const args = [...readOnly, '-f', 'raw', ...commands.flatMap((each) => ['-c', each])];
  const { status, stdout, stderr } = await outcomeOf('qemu-io', [...args, service.uri(name)]);
  if (status === 0 && !/fail|error|verification/i.test(stdout + stderr)) return;
  throw new Error(`qemu-io ${commands.join(', ')} on ${name}: ${stdout}${stderr}`);
}

async function changedExtents(name: string, context: string): Promise<[number, number][]> {
  const map = await run('nbdinfo', [`--map=${context}`, '--json', service.uri(name)]);
  const extents: { offset: number; length: number; type: number }[] = JSON.parse(map);
  return extents.filter(({ type }) => type === 1).map(({ offset, length }) => [offset, length]);
}

beforeAll(async () => {
  service = await Service.start();
  await service.createPool('1GiB');
  await service.createExportedVolume('gold', '256MiB');
  await qemuIo('gold', 'write -P 1 0 1M', 'write -P 2 100M 1M', 'flush');
  await service.varve('snapshot', 'create', 'gold@monday');
  // A sub-block in the middle of old data, new data, old data gone; then what is not tuesday's any more.
  await qemuIo('gold', 'write -P 3 64k 4k', 'write -P 4 200M 1M', 'discard 100M 128k', 'flush');
  await service.varve('snapshot', 'create', 'gold@tuesday');
  await qemuIo('gold', 'write -P 9 0 2M', 'flush');
  await service.varve(
    'export',
    'add',
    'gold@tuesday',
    '--name',
    'inc',
    '--changed-since',
    'monday',
  );
});
afterAll(() => service?.dispose());

const changed: readonly [number, number][] = [
  [64 * KiB, 4 * KiB],
  [100 * MiB, 128 * KiB],
  [200 * MiB, MiB],
];

test('what changed is told under both names, before and after a crash', async () => {
  for (const crash of [false, true]) {
    if (crash) {
      await service.kill9();
      await service.restart();
    }
    expect(await changedExtents('inc', 'varve:changed:monday')).toEqual(changed);
    expect(await changedExtents('inc', 'qemu:dirty-bitmap:monday')).toEqual(changed);
  }
});

test('a backup program reads what changed, and nothing of what came later', async () => {
  const args = [changedReader, service.uri('inc'), 'varve:changed:monday'];
  const lines = (await run('/usr/bin/python3', args)).trim().split('\n');
  expect(lines.map((line) => line.split(' ').slice(0, 2).map(Number))).toEqual(changed);
  const reads = ['read -P 1 0 64k', 'read -P 3 64k 4k', 'read -P 1 68k 956k', 'read -P 0 1M 1M'];
  reads.push('read -P 0 100M 128k', 'read -P 2 102528k 896k', 'read -P 4 200M 1M');
  await qemuIo('inc', ...reads);
  await expect(qemuIo('inc', 'read -P 9 0 64k')).rejects.toThrow('verification');
});

test('QEMU finds it as a dirty bitmap', async () => {
  const image = `driver=nbd,server.type=unix,server.path=${service.nbdSocket},export=inc`;
  const bitmap = 'x-dirty-bitmap=qemu:dirty-bitmap:monday';
  const map = await run('qemu-img', [
    ...['map', '--output=json', '--image-opts', `${image},${bitmap}`],
  ]);
  const extents: { start: number; length: number; data: boolean }[] = JSON.parse(map);
  expect(extents.filter(({ data }) => !data).map((each) => [each.start, each.length])).toEqual(
    changed,
  );
});

test('a snapshot takes no writes and is not deleted while it is served', async () => {
  await expect(qemuIo('inc', 'write -P 8 0 4k')).rejects.toThrow();
  const info = JSON.parse(await run('nbdinfo', ['--json', service.uri('inc')]));
  expect(info.exports[0]).toMatchObject({ is_read_only: true, 'export-size': 256 * MiB });
  const deletion = await service.outcome(['snapshot', 'delete', 'gold@tuesday', '--yes']);
  expect(deletion.status).toBe(4);
  expect(deletion.stderr).toContain('inc');
});

test('a scratch takes writes that end with it', async () => {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await service.varve('export', 'add', 'gold@tuesday', '--name', 'try', '--scratch');
    await qemuIo(
      'try',
      ...['read -P 1 0 64k', 'write -P 7 0 64k', 'flush', 'read -P 7 0 64k', 'read -P 3 64k 4k'],
    );
    await qemuIo('inc', 'read -P 1 0 64k');
    await service.varve('export', 'remove', 'try');
  }
});
