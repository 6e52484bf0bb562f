// Goal: the clients of the field find a server they can use, and their data comes back.
// Method: real programs against the server on memory, on both kinds of event loop; contents are compared.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { backends, buildMemoryServer, MemoryServer } from './memory-server.ts';

const run = promisify(execFile);
const sizeBytes = 64 * 1024 * 1024;
const strictClient = join(import.meta.dirname, 'strict-client.py');
const changedReader = join(import.meta.dirname, 'changed-reader.py');

beforeAll(buildMemoryServer);

/** Data with holes: every third 64 KiB is zero. */
function sparseImage(): Buffer {
  const image = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 4) {
    if (Math.floor(at / 65_536) % 3 !== 0) image.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  }
  return image;
}

describe.each(backends)('on %s', (backend) => {
  let server: MemoryServer;
  beforeEach(async () => {
    server = await MemoryServer.start(
      ...['--backend', backend, '--loops', '2', '--size', String(sizeBytes)],
      ...['--name', 'disk', '--description', 'a disk of memory'],
    );
  });
  afterEach(() => server.stop());
  const file = (name: string) => join(server.path, '..', name);
  const mapped = async () =>
    JSON.parse((await run('nbdinfo', ['--map', '--json', server.uri])).stdout);

  test('nbdinfo reads every property', async () => {
    const { stdout } = await run('nbdinfo', ['--json', server.uri]);
    expect(JSON.parse(stdout).exports[0]).toMatchObject({
      'export-name': 'disk',
      description: 'a disk of memory',
      'export-size': sizeBytes,
      contexts: ['base:allocation'],
      is_read_only: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 33_554_432,
    });
  });

  test('nbdinfo and nbd-client list the export', async () => {
    expect((await run('nbdinfo', ['--list', server.uri])).stdout).toContain('export="disk"');
    expect((await run('nbd-client', ['-l', '-unix', server.path])).stdout).toContain('disk');
  });

  test('nbdcopy on four connections in and out, holes kept', async () => {
    const image = sparseImage();
    writeFileSync(file('in'), image);
    await run('nbdcopy', ['--connections=4', file('in'), server.uri]);
    await run('nbdcopy', ['--connections=4', server.uri, file('out')]);
    expect(readFileSync(file('out')).equals(image)).toBe(true);
    const holes = (await mapped()).filter((extent: { type: number }) => extent.type === 3);
    expect(holes.length).toBe(Math.ceil(sizeBytes / 65_536 / 3));
  });

  test('qemu-img convert in and out, and its map', async () => {
    const image = sparseImage();
    writeFileSync(file('in'), image);
    await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', file('in'), server.uri]);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', server.uri, file('out')]);
    expect(readFileSync(file('out')).equals(image)).toBe(true);
    const map = JSON.parse(
      (await run('qemu-img', ['map', '--output=json', '-f', 'raw', server.uri])).stdout,
    );
    expect(map[0]).toMatchObject({ start: 0, length: 65_536, zero: true, data: false });
    expect(map[1]).toMatchObject({ start: 65_536, length: 131_072, zero: false, data: true });
  });

  test('qemu-io writes unaligned, zeroes and discards', async () => {
    const commands = [
      'write -P 5 1000 5000',
      'read -P 5 1000 5000',
      'write -P 7 1M 4M',
      'write -z 1M 64k',
      'write -z -u 2M 64k',
      'read -P 0 1M 64k',
      'read -P 0 2M 64k',
      'read -P 7 3M 64k',
      'discard 4M 1M',
      'flush',
      'write -f -P 9 10M 12345',
      'read -P 9 10M 12345',
    ];
    const { stdout } = await run('qemu-io', [
      '-f',
      'raw',
      ...commands.flatMap((c) => ['-c', c]),
      server.uri,
    ]);
    expect(stdout).not.toMatch(/fail|error|verification/i);
  });

  test('fio verifies what it wrote at random, in odd sizes', async () => {
    await run('fio', [
      ...[
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${server.uri}`,
        '--rw=randwrite',
        '--iodepth=32',
      ],
      ...[
        '--bsrange=512-256k',
        '--bs_unaligned=1',
        '--size=48m',
        '--verify=crc32c',
        '--verify_fatal=1',
        '--verify_state_save=0',
      ],
    ]);
  });

  test('libnbd in strict mode finds no fault', async () => {
    const { stdout } = await run('/usr/bin/python3', [strictClient, server.uri]);
    expect(stdout.trim()).toBe('ok');
  });
});

describe.each(backends)('what changed, on %s', (backend) => {
  /** In the middle, longer than QEMU's requests are apart, and up to the end. */
  const runs = [
    { offset: 65_536, length: 4096 },
    { offset: 1_048_576, length: 33 * 1_048_576 },
    { offset: sizeBytes - 4096, length: 4096 },
  ];
  let server: MemoryServer;
  beforeEach(async () => {
    const changed = runs.map(({ offset, length }) => `${offset}+${length}`).join(',');
    server = await MemoryServer.start(
      ...['--backend', backend, '--loops', '2', '--size', String(sizeBytes)],
      ...['--name', 'disk', '--changed', `mon=${changed}`],
    );
  });
  afterEach(() => server.stop());

  test('nbdinfo lists both names and maps the runs', async () => {
    const names = ['base:allocation', 'varve:changed:mon', 'qemu:dirty-bitmap:mon'];
    const listed = JSON.parse((await run('nbdinfo', ['--list', '--json', server.uri])).stdout);
    expect(listed.exports[0].contexts).toEqual(names);
    for (const name of names.slice(1)) {
      const map = JSON.parse(
        (await run('nbdinfo', [`--map=${name}`, '--json', server.uri])).stdout,
      );
      expect(map.filter((extent: { type: number }) => extent.type === 1)).toMatchObject(runs);
      expect(map.at(-1).offset + map.at(-1).length).toBe(sizeBytes);
      expect(new Set(map.map((extent: { type: number }) => extent.type))).toEqual(new Set([0, 1]));
    }
  });

  test('nbdinfo finds no context of another name', async () => {
    await expect(run('nbdinfo', ['--map=varve:changed:tue', server.uri])).rejects.toThrow(
      'varve:changed:tue',
    );
  });

  test('libnbd reads what changed and nothing else', async () => {
    const image = sparseImage();
    writeFileSync(join(server.path, '../in'), image);
    await run('nbdcopy', [join(server.path, '../in'), server.uri]);
    const { stdout } = await run('/usr/bin/python3', [
      changedReader,
      server.uri,
      'varve:changed:mon',
    ]);
    const digests = runs.map(({ offset, length }) => {
      const bytes = image.subarray(offset, offset + length);
      return `${offset} ${length} ${createHash('sha256').update(bytes).digest('hex')}`;
    });
    expect(stdout.trim().split('\n')).toEqual(digests);
  });

  test('qemu-img finds the runs as a dirty bitmap', async () => {
    const options = {
      driver: 'nbd',
      'server.type': 'unix',
      'server.path': server.path,
      export: 'disk',
      'x-dirty-bitmap': 'qemu:dirty-bitmap:mon',
    };
    const image = Object.entries(options)
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    const { stdout } = await run('qemu-img', ['map', '--output=json', '--image-opts', image]);
    // QEMU shows the bit where it would show a hole: what is dirty has no data.
    const dirty = JSON.parse(stdout)
      .filter((extent: { data: boolean }) => !extent.data)
      .map(({ start: offset, length }: { start: number; length: number }) => ({ offset, length }));
    expect(dirty).toEqual(runs);
  });
});
