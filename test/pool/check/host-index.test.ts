// Goal: a real index on this host is compared with the disks, and is closed again.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkOfflineWithIndex } from '../../../src/pool/check/host-index.ts';
import { hostKey, recordKey } from '../../../src/pool/format/index-keys.ts';
import { IndexStore } from '../../../src/pool/index-store.ts';
import { checkpointEntries, json, soundPool, writePool } from './pool-files.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-check-index-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('an index that agrees, one that does not, and none', async () => {
  const disks = writePool(folder, soundPool());
  const path = join(folder, 'index');
  const store = await IndexStore.open(path);
  await store.write([
    ...checkpointEntries(soundPool()),
    { key: hostKey('applied'), value: json({ sequence: 5 }) },
  ]);
  await store.close();
  expect((await checkOfflineWithIndex(disks, path)).findings).toEqual([]);

  const again = await IndexStore.open(path);
  await again.write([{ key: recordKey('volume/1'), value: null }]);
  await again.close();
  expect((await checkOfflineWithIndex(disks, path)).findings).toMatchObject([
    { code: 'index/missing', where: 'volume/1' },
  ]);

  await expect(checkOfflineWithIndex(disks, join(folder, 'nothing'))).rejects.toMatchObject({
    code: 'request/invalid',
  });
});
