// Goal: whatever is wrong with what is typed, or with what lies on the disks, is answered with its cause, a remedy, a
//   code and an exit status of cli.md, and leaves everything as it was.
// Method: tables of command lines against the real service. After each, the service's documents and the folder of
//   disks must be what they were; damaged disks are compared byte by byte.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/api/config.ts';
import { Service } from '../../src/api/service.ts';
import { labelBytes } from '../../src/pool/format/geometry.ts';
import { labelOffset } from '../../src/pool/format/label.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { type Outcome, runCaptured } from './capture.ts';

const log = pino({ level: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'varve-bad-'));
const state = join(folder, 'state');
const disks = join(folder, 'disks');
const at = (name: string) => join(disks, name);
const MiB = 1024 * 1024;
let service: Service;
let listener: Server;

const varve = (...argv: string[]) => runCaptured(`unix:${state}/varve.sock`, ...argv);

async function document(...argv: string[]): Promise<Record<string, unknown>> {
  const { exit, stdout, stderr } = await varve(...argv, '-o', 'json', '-y');
  expect({ exit, stderr: exit === 0 ? '' : stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, unknown>;
}

beforeAll(async () => {
  mkdirSync(disks);
  service = await Service.start(await loadConfig({ state }), log);
  await document('pool', 'create', 'main', `${at('main.img')}?size=256MiB`);
  await document('volume', 'create', 'gold', '--size', '64MiB');
  await document('export', 'add', 'gold');
  writeFileSync(at('small'), Buffer.alloc(MiB));
  const filesystem = Buffer.alloc(256 * 1024);
  filesystem.set([0x53, 0xef], 1080);
  writeFileSync(at('ext4'), filesystem);
  truncateSync(at('ext4'), 256 * MiB);
  listener = createServer().listen(join(folder, 'taken.sock'));
});

afterAll(async () => {
  listener.close();
  await service.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Error form of cli.md: what happened, what to do, the code; no stack trace. */
function expectRefusal({ exit, stdout, stderr }: Outcome, wanted: readonly [number, string]): void {
  expect(stderr).toMatch(/^error: .+\n( {2}try: {3}.+\n)+ {2}code: {2}[a-z]+\/[a-z-]+\n$/);
  expect(stderr).toContain(`  code:  ${wanted[1]}\n`);
  expect({ exit, stdout }).toEqual({ exit: wanted[0], stdout: '' });
}

/** What must not change: what the service tells, and which files there are, and how large. */
async function everything(): Promise<unknown> {
  const told: unknown[] = [];
  for (const noun of ['pool', 'disk', 'volume', 'export']) told.push(await document(noun, 'list'));
  const files = readdirSync(disks).map((name) => [name, statSync(at(name)).size]);
  return { told, files };
}

describe('command lines', () => {
  const create = (size: string) => ['volume', 'create', 'new', '--size', size];
  const pool = (...uris: string[]) => ['pool', 'create', 'new', ...uris];
  const add = (...listen: string[]) => [
    'export',
    'add',
    'gold',
    '--name',
    'new',
    '--listen',
    ...listen,
  ];
  const name = (text: string) => ['volume', 'create', text, '--size', '1GiB'];

  test.each<[string, () => string[], number, string]>([
    ['a size of zero', () => create('0'), 2, 'request/invalid'],
    ['a negative size', () => create('-1GiB'), 2, 'request/invalid'],
    ['no size', () => create('much'), 2, 'request/invalid'],
    ['a size that is no whole number of bytes', () => create('0.3B'), 2, 'request/invalid'],
    ['a size below the least', () => create('1'), 2, 'request/invalid'],
    ['a size over the limit', () => create('2PiB'), 2, 'request/invalid'],
    ['a size beyond numbers', () => create('99999999999PiB'), 2, 'request/invalid'],
    ['growing to nothing', () => ['volume', 'resize', 'gold', '0'], 2, 'request/invalid'],
    ['growing over the limit', () => ['volume', 'resize', 'gold', '2PiB'], 2, 'request/invalid'],
    ['shrinking', () => ['volume', 'resize', 'gold', '1MiB'], 4, 'volume/shrink'],
    ['a thick volume larger than the pool', () => [...create('1TiB'), '--thick'], 6, 'pool/full'],
    ['a name with @', () => name('a@b'), 2, 'request/invalid'],
    ['a name with /', () => name('a/b'), 2, 'request/invalid'],
    ['an empty name', () => name(''), 2, 'request/invalid'],
    ['a name that begins with a dot', () => name('.a'), 2, 'request/invalid'],
    ['a name in capitals', () => name('Gold'), 2, 'request/invalid'],
    ['a name that is too long', () => name('a'.repeat(64)), 2, 'request/invalid'],
    [
      'a snapshot where a volume is asked for',
      () => ['volume', 'delete', 'gold@a', '-y'],
      2,
      'request/invalid',
    ],
    ['an unknown volume', () => ['volume', 'show', 'none'], 3, 'volume/not-found'],
    [
      'an unknown volume to delete',
      () => ['volume', 'delete', 'none', '-y'],
      3,
      'volume/not-found',
    ],
    ['an unknown pool', () => ['pool', 'check', 'none'], 3, 'pool/not-found'],
    [
      'an unknown pool for a volume',
      () => [...create('1GiB'), '--pool', 'none'],
      3,
      'pool/not-found',
    ],
    [
      'an unknown pool for a disk',
      () => ['disk', 'add', 'none', `${at('x')}?size=1GiB`],
      3,
      'pool/not-found',
    ],
    ['an unknown disk', () => ['disk', 'show', 'none'], 3, 'disk/not-found'],
    ['an unknown export', () => ['export', 'uri', 'none'], 3, 'export/not-found'],
    ['a deletion without a yes', () => ['volume', 'delete', 'gold'], 2, 'request/confirmation'],
    ['a folder as a disk', () => pool(disks), 1, 'disk/unusable'],
    ['a special file as a disk', () => pool('/dev/null'), 1, 'disk/unusable'],
    ['a missing file without a size', () => pool(at('none')), 1, 'disk/unusable'],
    ['a missing folder', () => pool(`${at('none')}/x?size=1GiB`), 1, 'disk/unusable'],
    ['a missing block device', () => pool('block:/dev/none'), 1, 'disk/unusable'],
    ['a disk that is too small', () => pool(at('small')), 1, 'disk/too-small'],
    ['a new disk that is too small', () => pool(`${at('x')}?size=64KiB`), 1, 'disk/too-small'],
    ['a disk of another size', () => pool(`${at('small')}?size=1GiB`), 1, 'disk/unusable'],
    [
      'one disk twice',
      () => pool(`${at('x')}?size=1GiB`, `${at('x')}?size=1GiB`),
      2,
      'request/invalid',
    ],
    ['a disk of another pool', () => pool(at('main.img')), 4, 'disk/in-use'],
    ['a disk of the pool itself', () => ['disk', 'add', 'main', at('main.img')], 4, 'disk/in-use'],
    ['a disk with a filesystem', () => pool(at('ext4')), 4, 'disk/in-use'],
    [
      'a good disk beside a bad one',
      () => pool(`${at('x')}?size=1GiB`, at('ext4')),
      4,
      'disk/in-use',
    ],
    ['a disk size of zero', () => pool(`${at('x')}?size=0`), 2, 'request/invalid'],
    ['an unknown kind of disk', () => pool('floppy:/a'), 2, 'request/invalid'],
    [
      'an odd cluster size',
      () => [...pool(`${at('x')}?size=1GiB`), '--cluster-size', '3KiB'],
      2,
      'request/invalid',
    ],
    ['an import of what is no pool', () => ['pool', 'import', at('ext4')], 1, 'disk/unusable'],
    ['a socket path that is too long', () => add(`unix:/${'x'.repeat(108)}`), 4, 'export/listen'],
    [
      'a socket that another program holds',
      () => add(`unix:${folder}/taken.sock`),
      4,
      'export/listen',
    ],
    ['a socket where a file is', () => add(`unix:${at('small')}`), 4, 'export/listen'],
    ['a socket in no folder', () => add(`unix:${at('none')}/s`), 4, 'export/listen'],
    ['an address of another host', () => add('tcp:192.0.2.1:10809'), 4, 'export/listen'],
    ['a port over the limit', () => add('tcp:127.0.0.1:70000'), 2, 'request/invalid'],
    ['no address', () => add('here'), 2, 'request/invalid'],
    [
      'a map beyond the end',
      () => ['volume', 'map', 'gold', '--offset', '1TiB'],
      2,
      'request/invalid',
    ],
    ['a mistyped noun', () => ['volum', 'list'], 2, 'request/invalid'],
    ['a mistyped option', () => ['volume', 'list', '--pol', 'main'], 2, 'request/invalid'],
    ['an unknown format', () => ['volume', 'list', '-o', 'xml'], 2, 'request/invalid'],
    [
      'no service',
      () => ['status', '--server', `unix:${folder}/none.sock`],
      20,
      'service/unreachable',
    ],
  ])('%s', async (_, argv, exit, code) => {
    const before = await everything();
    expectRefusal(await varve(...argv()), [exit, code]);
    expect(await everything()).toEqual(before);
  });

  test('a socket that a kill left behind is taken over', async () => {
    const path = join(folder, 'stale.sock');
    const leave = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', leave]);
    expect(statSync(path).isSocket()).toBe(true);
    await document('export', 'add', 'gold', '--name', 'stale', '--listen', `unix:${path}`);
    await document('export', 'remove', 'stale');
  });
});

// Mounting needs root, which a build machine's user may not be.
describe.skipIf(process.getuid?.() !== 0)('backing filesystems', () => {
  const mounted = join(folder, 'mounted');
  const mount = (...args: string[]) => expect(spawnSync('mount', args).status).toBe(0);
  afterEach(() => {
    spawnSync('umount', [mounted]);
  });

  test('a read-only one', async () => {
    mkdirSync(mounted, { recursive: true });
    mount('-t', 'tmpfs', 'varve-test', mounted);
    writeFileSync(join(mounted, 'there'), '');
    truncateSync(join(mounted, 'there'), 256 * MiB);
    mount('-o', 'remount,ro', mounted);
    for (const uri of [join(mounted, 'there'), join(mounted, 'new?size=256MiB')]) {
      const before = await everything();
      expectRefusal(await varve('pool', 'create', 'new', uri), [1, 'disk/unusable']);
      expect(await everything()).toEqual(before);
    }
  });

  test('a full one', async () => {
    mkdirSync(mounted, { recursive: true });
    mount('-t', 'tmpfs', '-o', 'size=64k', 'varve-test', mounted);
    const before = await everything();
    const outcome = await varve('pool', 'create', 'new', join(mounted, 'new?size=256MiB'));
    expectRefusal(outcome, [1, 'disk/io']);
    expect(readdirSync(mounted)).toEqual([]);
    expect(await everything()).toEqual(before);
  });
});

describe('damaged disks', () => {
  const path = at('hurt.img');
  const sound = join(folder, 'sound.img');

  beforeAll(async () => {
    await document('pool', 'create', 'hurt', `${path}?size=256MiB`);
    await document('volume', 'create', 'v', '--size', '16MiB', '--pool', 'hurt');
    await document('pool', 'export', 'hurt');
    copyFileSync(path, sound);
  });

  /** Flips one bit at each offset. */
  function flip(...offsets: number[]): void {
    const bytes = readFileSync(path);
    for (const offset of offsets) bytes[offset] = (bytes[offset] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  }

  async function soundLabel() {
    const { label } = await probeDisk(sound);
    if (label === null) throw new Error('the sound disk has no label');
    return label;
  }

  async function checkpointOffset(): Promise<number> {
    const { checkpoint, clusterBytes } = await soundLabel();
    return (checkpoint?.firstCluster ?? 0) * clusterBytes;
  }

  const digest = (from = 0) =>
    createHash('sha256').update(readFileSync(path).subarray(from)).digest('hex');

  test.each<[string, () => Promise<void> | void, number, string]>([
    [
      'both labels flipped',
      () => flip(labelOffset(0) + 100, labelOffset(1) + 100),
      1,
      'disk/unusable',
    ],
    ['a disk cut short', () => truncateSync(path, 100 * MiB), 1, 'disk/too-small'],
    ['a disk cut within its label', () => truncateSync(path, 1000), 1, 'disk/unusable'],
  ])('%s', async (_, hurt, exit, code) => {
    copyFileSync(sound, path);
    await hurt();
    const before = digest();
    expectRefusal(await varve('pool', 'import', path), [exit, code]);
    expect(digest()).toBe(before);
  });

  // Whoever takes a pool writes its label before it reads the checkpoint: another host must not write meanwhile.
  test('a flipped checkpoint leaves all but the owner in the label', async () => {
    copyFileSync(sound, path);
    flip((await checkpointOffset()) + 64);
    const before = digest(2 * labelBytes);
    expectRefusal(await varve('pool', 'import', path), [7, 'pool/damaged']);
    expect(digest(2 * labelBytes)).toBe(before);
  });

  test('the older of two labels flipped: the newer one serves', async () => {
    copyFileSync(sound, path);
    const { generation } = await soundLabel();
    flip(labelOffset(generation + 1) + 100);
    expect(await document('pool', 'import', path)).toMatchObject({ name: 'hurt', changed: true });
    expect((await document('volume', 'show', 'v')).size_bytes).toBe(16 * MiB);
    await document('pool', 'export', 'hurt');
  });
});

describe('starting', () => {
  // One data plane to a process: the service of the tables goes first.
  beforeAll(() => service.stop());

  const start = async (options: Parameters<typeof loadConfig>[0]) =>
    Service.start(await loadConfig(options), log);

  test.each<[string, () => Parameters<typeof loadConfig>[0], string]>([
    ['a file as the state folder', () => ({ state: at('small') }), 'service/config'],
    [
      'a REST socket that is too long',
      () => ({ state, socket: `/${'x'.repeat(108)}` }),
      'export/listen',
    ],
    [
      'a REST socket that another program holds',
      () => ({ state, socket: join(folder, 'taken.sock') }),
      'export/listen',
    ],
    ['a REST socket where a file is', () => ({ state, socket: at('small') }), 'export/listen'],
    ['a configuration that is not there', () => ({ state, config: at('none') }), 'service/config'],
  ])('%s is refused', async (_, options, code) => {
    const held = statSync(at('small')).size;
    await expect(start(options())).rejects.toMatchObject({ code });
    expect(statSync(at('small')).size).toBe(held);
    expect(readdirSync(state)).not.toContain('lock');
  });

  test('an index of nonsense is rebuilt from the disks', async () => {
    const pools = join(state, 'pools');
    for (const name of readdirSync(pools, { recursive: true, encoding: 'utf8' })) {
      const file = join(pools, name);
      if (/CURRENT|MANIFEST/.test(name) && statSync(file).isFile()) writeFileSync(file, 'nonsense');
    }
    service = await start({ state });
    expect(await document('volume', 'show', 'gold')).toMatchObject({ size_bytes: 64 * MiB });
    expect(await document('pool', 'check', 'main')).toMatchObject({ findings: [] });
  });
});
