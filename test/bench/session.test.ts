// Goal: a server that does not keep what was written has no figures, and costs no other server its own.
// Method: a real session of a server in memory and of one that throws everything away, which answers every request without an error.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { endpointIn } from '../../tools/bench/endpoint.ts';
import { ownPeers } from '../../tools/bench/peer-tools.ts';
import type { ServerKind } from '../../tools/bench/servers.ts';
import { runSession } from '../../tools/bench/session.ts';
import { plainSetting } from '../../tools/bench/settings.ts';
import { listening } from '../../tools/bench/storage-daemon.ts';
import { workloadNamed } from './made-up.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-session-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function nbdkit(plugin: string): ServerKind {
  return {
    name: plugin,
    role: 'raw',
    takes: () => true,
    start: async (order) => {
      const endpoint = await endpointIn(order.folder, 'unix');
      if (endpoint.kind !== 'unix') throw new Error('asked for a unix socket');
      const args = ['-f', '-U', endpoint.path, plugin, `${order.sizeMiB}M`];
      return listening(ownPeers.start('nbdkit', args), endpoint, ['disk']);
    },
  };
}

test('who forgets has no figures', async () => {
  const plan = {
    folder,
    rounds: 1,
    runtimeSeconds: 0.1,
    spanMiB: 1,
    setting: plainSetting,
    servers: [nbdkit('memory'), nbdkit('null')],
    workloads: [workloadNamed('random read 4k qd1')],
  };
  const said: unknown[] = [];
  const results = await runSession(plan, (result) => said.push(result));
  expect(said).toEqual(results);
  const kept = results.map(({ server, outcome }) => [
    server.name,
    typeof outcome === 'string' ? outcome.slice(0, 24) : 'measured',
  ]);
  expect(kept).toEqual([
    ['memory', 'measured'],
    ['null', 'data verification failed'],
  ]);
});
