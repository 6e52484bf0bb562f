// Goal: a server that lost or changed what was written has no figures to show.
// Method: a witness on a real server, one of its blocks overwritten behind its back, as zeroes or as another block's content.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ownPeers } from '../../tools/bench/peer-tools.ts';
import { peerKinds } from '../../tools/bench/peers.ts';
import type { RunningServer } from '../../tools/bench/servers.ts';
import { plainSetting } from '../../tools/bench/settings.ts';
import { hearWitness, placeWitness, witnessRoomMiB } from '../../tools/bench/witness.ts';
import { run } from '../../tools/lib/command.ts';

const spanMiB = 1;
const KiB = 1024;

let folder: string;
let server: RunningServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'varve-witness-'));
  const memory = peerKinds(ownPeers).find(({ role }) => role === 'ceiling');
  if (memory === undefined) throw new Error('there is a ceiling');
  const sizeMiB = spanMiB + witnessRoomMiB;
  server = await memory.start({ folder, sizeMiB, setting: plainSetting });
  await placeWitness(server, spanMiB);
});

afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

function qemuIo(...commands: string[]): Promise<string> {
  return run('qemu-io', ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), server.uri]);
}

test('a witness is heard as often as one likes, whatever was written beside it', async () => {
  await hearWitness(server, spanMiB);
  await qemuIo(`write -q -P 7 0 ${spanMiB * KiB}k`);
  await hearWitness(server, spanMiB);
});

test('a block that was lost is found', async () => {
  await qemuIo(`write -q -z ${spanMiB * KiB + 64}k 4k`);
  await expect(hearWitness(server, spanMiB)).rejects.toThrow('data verification failed');
});

test('a whole block in the wrong place is found', async () => {
  const other = join(folder, 'block');
  await run('nbdcopy', [server.uri, other]);
  const whole = join(folder, 'one');
  await run('dd', [`if=${other}`, `of=${whole}`, 'bs=4k', `skip=${spanMiB * 256}`, 'count=1']);
  await qemuIo(`write -q -s ${whole} ${spanMiB * KiB + 64}k 4k`);
  await expect(hearWitness(server, spanMiB)).rejects.toThrow('data verification failed');
});
