// Goal: whatever is in the state folder, the service starts with what makes sense of it, or refuses with a code and a remedy; what was read is what its
//   type says. Files are written at once or not at all, so this is somebody's editor, another version or a bad disk, not a crash.
// Method: the documents that are written, with parts replaced, cut or made of random bytes; the readers by themselves.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EventLog } from '../../src/api/event-log.ts';
import { Operations } from '../../src/api/operations.ts';
import { StateDir } from '../../src/api/state-dir.ts';
import { systemClock } from '../../src/base/clock.ts';
import { StorageError } from '../../src/base/errors.ts';
import { HostStore } from '../../src/export/export-store.ts';
import { PoolFolder } from '../../src/pool/lineage.ts';
import { PoolList } from '../../src/pool/pool-list.ts';
import { quietLog } from '../pool/fixture.ts';
import { runs } from './runs.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-state-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, -1, 0, 1.5, 1e300, '', 'x', '../../x', [], {}, [null], { pools: 5 }),
  fc.string({ maxLength: 12 }),
);

/** A document with one of its values replaced, or none. */
function spoiled(document: unknown): fc.Arbitrary<unknown> {
  if (typeof document !== 'object' || document === null) {
    return fc.oneof({ weight: 3, arbitrary: fc.constant(document) }, odd);
  }
  const isList = Array.isArray(document);
  const fields = Object.entries(document).map(([name, value]) => [name, spoiled(value)] as const);
  const whole = isList
    ? fc.tuple(...fields.map(([, value]) => value))
    : fc.record(Object.fromEntries(fields), { requiredKeys: [] });
  return fc.oneof({ weight: 8, arbitrary: whole }, odd);
}

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 60 }).map((raw) => Buffer.from(raw).toString('latin1')),
  fc.constantFrom('', '{', 'null', '5', '"x"', '[]', '{}', '\ufeff{}'),
);

/** Of a file that holds one document. */
const contentOf = (document: unknown) =>
  fc.oneof(
    { weight: 5, arbitrary: spoiled(document).map((value) => JSON.stringify(value)) },
    bytes,
  );

/** Of a file of lines. */
const linesOf = (document: unknown) =>
  fc.array(contentOf(document), { maxLength: 5 }).map((lines) => lines.join('\n'));

async function read<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    expect(error.code).toMatch(/^service\/(state-version|state-held|config)$/);
    expect(error.actions.length).toBeGreaterThan(0);
    return undefined;
  }
}

test('events', async () => {
  const event = {
    id: 3,
    time: '2026-01-01T00:00:00Z',
    level: 'info',
    event: 'pool/created',
    subject: 'main',
    message: 'm',
  };
  const path = join(folder, 'events.jsonl');
  await fc.assert(
    fc.asyncProperty(linesOf(event), async (content) => {
      writeFileSync(path, content);
      const log = new EventLog(systemClock, quietLog, path);
      log.emit({ kind: 'a/b', level: 'info', subject: 's', message: 'm' });
      const all = log.after(0);
      expect(all.at(-1)?.event).toBe('a/b');
      for (const { id, time, subject, message } of all) {
        expect(Number.isSafeInteger(id) && id > 0).toBe(true);
        expect(Date.parse(time)).not.toBeNaN();
        expect([typeof subject, typeof message]).toEqual(['string', 'string']);
      }
      log.close();
    }),
    runs(300),
  );
});

test('operations', async () => {
  const operation = {
    id: 'op-3',
    operation: 'volume-create',
    target: 'gold',
    parameters: { a: 1 },
    state: 'running',
    progress: { done_bytes: 1, total_bytes: 2 },
    error: null,
    created_at: '2026-01-01T00:00:00Z',
    finished_at: null,
  };
  const path = join(folder, 'operations.jsonl');
  await fc.assert(
    fc.asyncProperty(linesOf(operation), async (content) => {
      writeFileSync(path, content);
      const operations = new Operations(systemClock, quietLog, () => {}, path);
      const { id } = operations.start({ operation: 'x', target: 'y', phase: 'z' }, async () => {});
      expect(id).toMatch(/^op-[1-9]\d*$/);
      for (const item of operations.list()) {
        expect(item.id).toMatch(/^op-\d+$/);
        expect([typeof item.operation, typeof item.target]).toEqual(['string', 'string']);
        expect(typeof item.progress.done_bytes).toBe('number');
      }
      await operations.close();
    }),
    runs(300),
  );
});

test('the list of pools', async () => {
  const disk = { uri: '/a', path: '/a', kind: 'file' };
  const pool = { uuid: '0f8fad5b-d9cb-469f-a165-70867728950e', name: 'main', disks: [disk] };
  await fc.assert(
    fc.asyncProperty(
      contentOf({ pools: [pool] }),
      contentOf({ 'iscsi://x': 'y' }),
      async (list, secrets) => {
        writeFileSync(join(folder, 'pools.json'), list);
        writeFileSync(join(folder, 'disk-secrets.json'), secrets);
        const pools = await read(() => PoolList.open(folder));
        for (const { uuid, name, disks } of pools?.entries ?? []) {
          expect(uuid).toMatch(/^[0-9a-f-]{36}$/);
          expect(typeof name).toBe('string');
          for (const { uri, path } of disks)
            expect([typeof uri, typeof path]).toEqual(['string', 'string']);
        }
      },
    ),
    runs(300),
  );
});

test('exports of whole disks', async () => {
  const record = {
    name: 'x',
    uuid: 'u',
    disk: { uri: '/a', path: '/a', kind: 'file' },
    sizeBytes: 1,
    listen: [],
    readOnly: false,
  };
  const paths = { exports: join(folder, 'exports.json'), secrets: join(folder, 'secrets.json') };
  await fc.assert(
    fc.asyncProperty(contentOf({ exports: [record] }), async (content) => {
      writeFileSync(paths.exports, content);
      const store = await read(() => HostStore.open(paths));
      for (const { name, disk, listen } of store?.all() ?? []) {
        expect([typeof name, typeof disk.uri]).toEqual(['string', 'string']);
        for (const address of listen) expect(typeof address).toBe('string');
      }
    }),
    runs(300),
  );
});

test('the lineage of a pool', async () => {
  const pool = new PoolFolder(folder);
  await fc.assert(
    fc.asyncProperty(contentOf({ since: 1, epoch: 3, served: 2 }), async (content) => {
      writeFileSync(join(folder, 'lineage.json'), content);
      const lineage = await pool.readLineage();
      if (lineage === undefined) return;
      for (const value of [lineage.since, lineage.epoch, lineage.served]) {
        expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
      }
    }),
    runs(300),
  );
});

test('version and lock', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(bytes, fc.constant('1\n')),
      contentOf({ pid: 1, startTicks: '1', boot: 'x' }),
      async (version, lock) => {
        const path = mkdtempSync(join(folder, 'dir-'));
        mkdirSync(path, { recursive: true });
        writeFileSync(join(path, 'version'), version);
        writeFileSync(join(path, 'lock'), lock);
        const taken = await read(() => StateDir.take(path));
        await taken?.release();
      },
    ),
    runs(60),
  );
});
