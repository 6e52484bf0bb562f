// Goal: what people read and scripts get from the verbs of snapshots, clones, reverts and schedules.
// Method: command lines against the real REST server over in-memory services.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { openApi, type TestApi } from '../api/fakes.ts';
import { runCaptured } from './capture.ts';

let api: TestApi;
let folder: string;

const varve = (...argv: string[]) => runCaptured(`unix:${folder}/varve.sock`, ...argv);

async function document(...argv: string[]) {
  const { exit, stdout, stderr } = await varve(...argv, '-o', 'json', '-y');
  expect({ exit, stderr: exit === 0 ? '' : stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** Of a command that must succeed; stdout is data, stderr is talk. */
async function told(...argv: string[]) {
  const { exit, stdout, stderr } = await varve(...argv);
  expect({ exit, stderr: exit === 0 ? '' : stderr }).toEqual({ exit: 0, stderr: '' });
  return { stdout, stderr };
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'varve-snap-'));
  api = await openApi();
  await api.app.listen({ path: join(folder, 'varve.sock') });
  await document('pool', 'create', 'main', '/d');
  for (const name of ['gold', 'tin']) await document('volume', 'create', name, '--size', '1MiB');
});

afterEach(async () => {
  await api.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('snapshot create', () => {
  test('tells the pause and what to do next', async () => {
    const { stderr, stdout } = await told('snapshot', 'create', 'gold@a');
    expect(stdout).toBe('');
    expect(stderr).toBe(
      'gold@a is there (crash-consistent); writes were held for 2.0 ms\n' +
        '  next:  varve volume clone gold@a NAME, varve export add gold@a, varve volume revert gold@a\n',
    );
  });

  test('several at once are one request', async () => {
    const { stderr } = await told('snap', 'create', 'gold@a', 'tin@a');
    expect(stderr).toContain('gold@a, tin@a are there (crash-consistent, at one point in time)');
    expect(api.snapshots.asked).toMatchObject({ names: [{ volume: 'gold' }, { volume: 'tin' }] });
  });

  test.each([
    ['name', 'gold@a\ntin@a\n'],
    ['wide', /^SNAPSHOT .*\ngold@a .*\ntin@a .*\n$/],
  ])('-o %s', async (format, wanted) => {
    const { stdout } = await told('snapshot', 'create', 'gold@a', 'tin@a', '-o', format);
    expect(stdout).toMatch(wanted);
  });

  test('passes on notes, labels, attachments and the guest agent', async () => {
    const file = join(folder, 'domain.xml');
    writeFileSync(file, '\uFEFF<domain>ü</domain>\n');
    await document(
      ...['snapshot', 'create', 'gold@a', '--note', 'before the upgrade'],
      ...['--label', 'app=db', '--label', 'query=a=b', '--attach', file],
      ...['--quiesce', 'agent.sock', '--quiesce-timeout', '1500ms'],
    );
    expect(api.snapshots.asked).toMatchObject({
      note: 'before the upgrade',
      labels: { app: 'db', query: 'a=b' },
      attachment: '\uFEFF<domain>ü</domain>\n',
      quiesceSocket: join(process.cwd(), 'agent.sock'),
      quiesceTimeoutSeconds: 1.5,
    });
  });

  test('refuses to attach what is no text, instead of changing it', async () => {
    const file = join(folder, 'image');
    writeFileSync(file, Buffer.from([0xff, 0xfe, 0x00]));
    const { exit, stderr } = await varve('snapshot', 'create', 'gold@a', '--attach', file);
    expect(exit).toBe(2);
    expect(stderr).toContain('UTF-8');
    expect(api.snapshots.list()).toEqual([]);
  });

  test('that are there already changes nothing and says so', async () => {
    await told('snapshot', 'create', 'gold@a');
    const snapshots = [api.snapshots.get('gold', 'a')];
    api.snapshots.create = async () => ({ snapshots, changed: false, pauseSeconds: 0 });
    expect(await document('snapshot', 'create', 'gold@a')).toMatchObject({ changed: false });
    expect((await told('snapshot', 'create', 'gold@a')).stderr).toBe('gold@a is there already\n');
  });

  test('with -n only says what it would do', async () => {
    const { stdout } = await told('snapshot', 'create', 'gold@a', '-n');
    expect(stdout).toBe('would snapshot create gold@a (0B to copy, 0B freed)\n');
    expect(api.snapshots.list()).toEqual([]);
  });
});

describe('what is there', () => {
  beforeEach(async () => {
    await document('snapshot', 'create', 'gold@a');
    await document('snapshot', 'create', 'tin@b');
    await document('volume', 'clone', 'gold@a', 'web');
    // As the service tells it.
    const info = api.snapshots.get('gold', 'a');
    api.snapshots.snapshots[0] = { ...info, clones: ['web'], note: 'x\ny' };
  });

  test('is listed, of one volume or of all', async () => {
    expect((await told('snapshot', 'list', '-o', 'name')).stdout).toBe('gold@a\ntin@b\n');
    expect((await told('snapshot', 'list', 'tin', '-o', 'name')).stdout).toBe('tin@b\n');
    expect((await document('snapshot', 'list')).items[0]).toMatchObject({ clones: ['web'] });
  });

  test.each([[['volume', 'list', '--tree']], [['snapshot', 'list', '--tree']]])(
    'is drawn by %j',
    async (argv) => {
      const { stdout } = await told(...argv, '-H');
      expect(stdout.split('\n').map((line) => line.split('\t').slice(0, 3))).toEqual([
        ['gold', 'volume', '1MiB'],
        ['└─ @a', 'crash', '512KiB'],
        ['   └─ web', 'clone', '512KiB'],
        ['tin', 'volume', '1MiB'],
        ['└─ @b', 'crash', '512KiB'],
        [''],
      ]);
    },
  );

  test('of one volume is drawn alone, with its clones', async () => {
    const { stdout } = await told('snapshot', 'list', 'gold', '--tree');
    expect(stdout).toMatch(/^NAME .*\ngold .*\n└─ @a .*\n {3}└─ web .*\n$/);
    expect((await varve('snapshot', 'list', 'none', '--tree')).exit).toBe(3);
  });

  test('a tree for scripts is the list', async () => {
    const tree = await document('volume', 'list', '--tree');
    expect(tree).toEqual(await document('volume', 'list'));
  });

  test('is shown with what its deletion frees', async () => {
    const { stdout, stderr } = await told('snapshot', 'show', 'gold@a');
    expect(stdout).toContain('gold@a');
    expect(stderr).toBe('deleting it frees 4KiB; 8KiB are held together with others\n');
  });

  test('a diff is extents, and how much they are', async () => {
    const { stdout, stderr } = await told('snapshot', 'diff', 'gold@a', '-H', '-p');
    expect(stdout).toBe('0\t4096\n65536\t4096\n131072\t4096\n');
    expect(stderr).toBe('12288 changed from gold@a to gold\n');
  });

  test('an attachment is data, to the byte', async () => {
    expect((await told('snapshot', 'attachment', 'gold@a')).stdout).toBe('attachment of a');
  });
});

describe('what goes', () => {
  beforeEach(async () => {
    await document('snapshot', 'create', 'gold@a');
    await document('snapshot', 'create', 'gold@b');
  });

  test('several snapshots in one request; their space comes back', async () => {
    const { stderr } = await told('snapshot', 'delete', 'gold@a', 'gold@b', '-y');
    expect(stderr).toBe('gold@a, gold@b are gone; 128KiB come back in the background\n');
    expect((await varve('snapshot', 'delete', 'gold@a', '-y')).exit).toBe(3);
  });

  test('a bookmark says what it is good for', async () => {
    const { stderr } = await told('snapshot', 'rm', 'gold@a', '--bookmark', '-y');
    expect(stderr).toContain('varve snapshot diff gold@a');
    expect(api.snapshots.asked).toEqual({ bookmark: true });
  });

  test('a volume that clones read through says how, as cli.md has it', async () => {
    api.volumes.delete = async () => {
      throw new StorageError(
        'volume/has-clones',
        'cannot delete volume gold: 2 linked clones read through it and --keep-clones was not given',
        {
          actions: [
            'varve volume delete gold --keep-clones   (its data stays until the last clone is gone)',
          ],
        },
      );
    };
    const { exit, stderr } = await varve('volume', 'delete', 'gold', '-y');
    expect(exit).toBe(4);
    expect(stderr).toBe(
      'error: cannot delete volume gold: 2 linked clones read through it and --keep-clones was not given\n' +
        '  try:   varve volume delete gold --keep-clones   (its data stays until the last clone is gone)\n' +
        '  code:  volume/has-clones\n',
    );
  });

  test('the confirmation names the snapshots that go too', async () => {
    const { exit, stderr } = await varve('volume', 'delete', 'gold', '--with-snapshots');
    expect(exit).toBe(2);
    expect(stderr).toContain('this deletes volume gold, its snapshots and all of its data');
  });
});

describe('clones', () => {
  beforeEach(() => document('snapshot', 'create', 'gold@a'));

  test('say what to do next, and repeat without harm', async () => {
    const { stderr } = await told('volume', 'clone', 'gold@a', 'web');
    expect(stderr).toBe(
      'volume web is there: a linked clone of gold@a\n  next:  varve export add web\n',
    );
    expect(await document('volume', 'clone', 'gold@a', 'web')).toMatchObject({ changed: false });
  });

  test('are flattened, waited for or not', async () => {
    await document('volume', 'clone', 'gold@a', 'web');
    await document('volume', 'clone', 'gold@a', 'web2');
    const plan = await told('volume', 'flatten', 'web', '-n');
    expect(plan.stdout).toBe('would volume flatten web (12KiB to copy, 0B freed)\n');
    expect((await told('volume', 'flatten', 'web')).stderr).toBe(
      'volume web needs no parent any more\n',
    );
    expect(await document('volume', 'flatten', 'web')).toMatchObject({ changed: false });
    expect((await told('volume', 'flatten', 'web2', '--no-wait')).stdout).toBe('op-2\n');
    expect((await varve('op', 'wait', 'op-2')).exit).toBe(0);
  });
});

describe('reverts', () => {
  beforeEach(() => document('snapshot', 'create', 'gold@a'));

  test('name what keeps the present, and the way back', async () => {
    const { stderr } = await told('volume', 'revert', 'gold@a');
    expect(stderr).toBe(
      'volume gold is what it was at gold@a; writes were held for 1.0 ms\n' +
        '  what it was until now is gold@before-revert: ' +
        'varve volume revert gold@before-revert, or delete it\n',
    );
    expect(await document('volume', 'revert', 'gold@a')).toMatchObject({
      kind: 'Reversion',
      safety: 'before-revert',
      changed: true,
    });
  });

  test('ask for nothing where nothing is lost, not even with --force', async () => {
    await told('volume', 'revert', 'gold@a', '--force');
    expect(api.snapshots.asked).toEqual({ force: true });
  });

  test('that discard it say what comes back', async () => {
    const { stderr } = await told('volume', 'revert', 'gold@a', '--discard', '--force', '-y');
    expect(stderr).toMatch(/ held for 1\.0 ms; 0B come back\n$/);
    expect(api.snapshots.asked).toEqual({ discard: true, force: true });
    const before = api.snapshots.asked;
    const unasked = await varve('volume', 'revert', 'gold@a', '--discard');
    expect(unasked.exit).toBe(2);
    expect(unasked.stderr).toContain('what it is now is lost');
    expect(api.snapshots.asked).toBe(before);
  });
});

test('the mode is set, then there already', async () => {
  const first = await told('volume', 'set-mode', 'gold', 'cow');
  const again = await told('volume', 'set-mode', 'gold', 'cow');
  expect([first.stderr, again.stderr]).toEqual([
    'volume gold is in mode cow now\n',
    'volume gold is in mode cow already\n',
  ]);
});

test('a schedule is planned, set, listed and removed', async () => {
  const set = ['snapshot', 'schedule', 'gold', '--keep-daily', '7', '--every', '6h'];
  const plan = await told(...set, '-n');
  expect(plan.stdout).toContain('would snapshot schedule gold');
  expect(plan.stdout).toContain('would not keep any more: auto-1\n');
  expect(api.snapshots.schedules()).toEqual([]);
  const done = await told(...set);
  expect(done.stderr).toContain('volume gold is snapshotted by itself, next at 2026-');
  expect(done.stderr).toContain('will not be kept then: auto-1');
  const { items } = await document('snapshot', 'schedule', 'list');
  expect(items).toMatchObject([{ volume: 'gold', every_seconds: 21_600, keep_daily: 7 }]);
  const { stdout } = await told('snapshot', 'schedule', 'list', '-H');
  expect(stdout).toMatch(/^gold\t6h\t0\t0\t7\t0\t/);
  await told('snapshot', 'schedule', 'remove', 'gold');
  expect((await varve('snapshot', 'schedule', 'remove', 'gold')).exit).toBe(3);
});

test('a snapshot is exported read-only under a name of its own', async () => {
  await document('snapshot', 'create', 'gold@a');
  const plain = await document('export', 'add', 'gold@a');
  expect(plain).toMatchObject({ name: 'gold-a', volume: 'gold', snapshot: 'a', read_only: true });
  expect(await document('export', 'add', 'gold@a')).toMatchObject({ changed: false });
  const scratch = await document('export', 'add', 'gold@a', '--scratch', '--name', 'try');
  expect(scratch).toMatchObject({ scratch: true, read_only: false });
  expect((await told('export', 'list', '-H')).stdout).toMatch(
    /^gold-a\tgold@a\tonline\tread-only\t.*\ntry\tgold@a \(scratch\)\tonline\tread-write\t/,
  );
  expect((await varve('export', 'add', 'gold@a', '--scratch', '--read-only')).exit).toBe(2);
});

test.each([
  [['snapshot', 'show', 'gold@none'], 3, 'snapshot/not-found'],
  [['snapshot', 'list', 'none'], 3, 'volume/not-found'],
  [['snapshot', 'diff', 'gold@a', 'gold'], 2, 'request/invalid'],
  [['snapshot', 'diff', 'gold'], 2, 'request/invalid'],
  [['snapshot', 'attachment', 'gold'], 2, 'request/invalid'],
  [['snapshot', 'rename', 'gold', 'x'], 2, 'request/invalid'],
  [['snapshot', 'schedule', 'gold@a', '--keep-last', '1'], 2, 'request/invalid'],
  [['volume', 'clone', 'gold@a', 'web@b'], 2, 'request/invalid'],
  [['volume', 'flatten', 'gold@a'], 2, 'request/invalid'],
  [['volume', 'flatten', 'none'], 3, 'volume/not-found'],
  [['volume', 'revert', 'none@a', '-y'], 3, 'volume/not-found'],
  [['volume', 'show', 'gold@a'], 2, 'request/invalid'],
  [['volume', 'rename', 'gold@a', 'x'], 2, 'request/invalid'],
  [['volume', 'resize', 'gold@a', '2MiB'], 2, 'request/invalid'],
  [['volume', 'map', 'gold@a'], 2, 'request/invalid'],
  [['volume', 'set-mode', 'gold@a', 'cow'], 2, 'request/invalid'],
  [['export', 'add', 'gold@none'], 3, 'snapshot/not-found'],
] as const)('%j ends with %i, %s', async (argv, exit, code) => {
  const outcome = await varve(...argv);
  expect(outcome.stderr).toContain(`  code:  ${code}\n`);
  expect(outcome.exit).toBe(exit);
});
