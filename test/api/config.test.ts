// Goal: settings are what the file says, and what it says wrong is named.
// Method: parse texts; load with and without a file.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig, parseSettings } from '../../src/api/config.ts';

test('every setting is read', () => {
  const text = `
    state = "/s"
    socket = "/s/x.sock"
    log_level = "warn"
    loops = 4
    backend = "epoll"
    buffer_memory = "64MiB"
    map_memory = 1048576
    flush_window_ms = 200
  `;
  expect(parseSettings('f', text)).toEqual({
    state: '/s',
    socket: '/s/x.sock',
    log_level: 'warn',
    loops: 4,
    backend: 'epoll',
    buffer_memory: 67_108_864,
    map_memory: 1_048_576,
    flush_window_ms: 200,
  });
});

test.each([
  ['sokcet = "/x"', 'unknown key sokcet'],
  ['loops = 0', 'loops: it must be a whole number from 1 to 64'],
  ['loops = "2"', 'loops: it must be a whole number'],
  ['backend = "poll"', 'backend: it must be one of auto, io_uring, epoll'],
  ['buffer_memory = "lots"', 'buffer_memory: "lots" is not a size'],
  ['socket = ""', 'socket: it must be a text'],
  ['loops = = 2', 'cannot be used'],
])('%s is refused', (text, message) => {
  expect(() => parseSettings('f', text)).toThrow(message);
});

test('a state folder of one’s own brings its own socket', async () => {
  expect(await loadConfig({})).toMatchObject({
    stateDir: '/var/lib/varve',
    socket: '/run/varve/varve.sock',
  });
  expect(await loadConfig({ state: '/s' })).toMatchObject({ socket: '/s/varve.sock' });
  expect(await loadConfig({ state: '/s', socket: '/r.sock' })).toMatchObject({ socket: '/r.sock' });
});

test('the command line wins over the file; a missing file is an error', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'varve-config-'));
  const config = join(folder, 'c.toml');
  writeFileSync(config, 'state = "/from-file"\nlog_level = "debug"\n');
  expect(await loadConfig({ config, state: '/s' })).toMatchObject({
    stateDir: '/s',
    logLevel: 'debug',
  });
  await expect(loadConfig({ config: join(folder, 'none') })).rejects.toMatchObject({
    code: 'service/config',
  });
  rmSync(folder, { recursive: true });
});
