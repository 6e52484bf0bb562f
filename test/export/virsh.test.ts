// Goal: a host without libvirt's tools is told so, and how to get them or do without.
// Method: a search path on which there is nothing.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { aboutDomain } from '../../src/export/virsh.ts';

let empty: string;

beforeEach(() => {
  empty = mkdtempSync(join(tmpdir(), 'varve-path-'));
  vi.stubEnv('PATH', empty);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(empty, { recursive: true });
});

test('without virsh the error says what to install', async () => {
  const { signal } = new AbortController();
  const asking = aboutDomain({ domain: 'guest', connect: undefined, signal }, 'domstate');
  await expect(asking).rejects.toMatchObject({
    code: 'guest/monitor',
    message: 'virsh is not there',
    actions: [expect.stringContaining('apt install libvirt-clients')],
  });
});
