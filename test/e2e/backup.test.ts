// Goal: a volume that is sent, whole and then what changed, comes back in an empty pool of another host as it was: content, snapshots, notes, labels;
//   through files and through pipes; what is cut by a kill, or a broken pipe, goes on; what does not fit is refused, and nothing is half made.
// Method: two real services; qemu-io writes, qemu-img compares; kills in the middle.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { expectIdentical, expectSoundDisks, MiB, qemuIo } from './disk-service.ts';

const shell = promisify(execFile);
const services: Service[] = [];

afterEach(async () => {
  for (const service of services.splice(0)) await service.dispose();
});

async function started(size: string): Promise<{ here: Service; disks: readonly string[] }> {
  const here = await Service.start();
  services.push(here);
  return { here, disks: await here.createPool(size) };
}

/** `web@mon`, 40 MiB in 128; `web@tue`, some of it changed and trimmed. */
async function written(): Promise<{ here: Service; file: (name: string) => string }> {
  const { here } = await started('512MiB');
  await here.rest('PUT', '/v1/volumes/web', { size_bytes: 128 * MiB });
  await here.rest('PUT', '/v1/exports/web', { volume: 'web' });
  const uri = here.uri('web');
  await qemuIo(uri, 'write -P 1 0 32M', 'write -P 2 100M 8M');
  const kept = { note: 'as it was', labels: { by: 'hand' } };
  await here.rest('POST', '/v1/snapshots', { names: ['web@mon'], ...kept });
  await qemuIo(uri, 'write -P 3 1M 3M', 'discard 8M 8M', 'write -P 4 120M 1M');
  await here.rest('POST', '/v1/snapshots', { names: ['web@tue'] });
  return { here, file: (name) => join(here.folder, name) };
}

async function expectSameSnapshot(a: Service, b: Service, snapshot: string): Promise<void> {
  const shown = `s-${snapshot}`;
  for (const service of [a, b]) {
    await service.rest('PUT', `/v1/exports/${shown}`, { volume: 'web', snapshot });
  }
  await expectIdentical(a.uri(shown), b.uri(shown));
  for (const service of [a, b]) {
    await service.rest('DELETE', `/v1/exports/${shown}?disconnect=true`);
  }
}

/** What is kept with the snapshots of `web`. */
async function snapshotsOf(service: Service) {
  const { items = [] } = await service.rest('GET', '/v1/snapshots?volume=web');
  return items.map(({ name, note, labels, created_at: at, size_bytes: size }) => {
    return { name, note, labels, at, size };
  });
}

async function volumesOf(here: Service): Promise<unknown[]> {
  return (await here.rest('GET', '/v1/volumes')).items?.map(({ name }) => name) ?? [];
}

/** `varve … | varve …`, each with its own service. */
async function piped(from: Service, send: string[], to: Service, receive: string[]) {
  const command = [process.execPath, 'dist/cli/main.js'].join(' ');
  const quoted = (args: string[]) => args.map((arg) => `'${arg}'`).join(' ');
  const ends = [
    `VARVE_SERVER=unix:${join(from.folder, 'api.sock')} ${command} ${quoted(send)}`,
    `VARVE_SERVER=unix:${join(to.folder, 'api.sock')} ${command} ${quoted(receive)}`,
  ];
  return shell('bash', ['-c', `set -o pipefail; ${ends.join(' | ')}`]);
}

test('by files: all of it, then what changed, into an empty pool of another host', async () => {
  const { here, file } = await written();
  const { here: there, disks } = await started('512MiB');
  const planned = await here.varve('backup', 'send', 'web@mon', file('mon'), '-n');
  expect(planned).toMatchObject({ kind: 'Plan', copied_bytes: expect.any(Number) });
  expect(existsSync(file('mon'))).toBe(false);
  await here.varve('backup', 'send', 'web@mon', file('mon'));
  const paced = ['--from', 'web@mon', '--rate', '200MiB/s'];
  const sent = await here.varve('backup', 'send', 'web@tue', file('tue'), ...paced);
  expect(sent.parameters).toMatchObject({ rate_bytes_per_second: 200 * MiB });
  // Zeroes and what did not change are not in it.
  expect(statSync(file('mon')).size).toBeLessThan(41 * MiB);
  expect(statSync(file('tue')).size).toBeLessThan(5 * MiB);
  const repeated = ['backup', 'send', 'web@mon', file('mon')];
  expect(await here.varve(...repeated)).toMatchObject({ kind: 'Result', changed: false });
  expect(await here.varve(...repeated, '-n')).toMatchObject({ changed: false, copied_bytes: 0 });
  expect(await here.outcome(['backup', 'send', 'web@mon', file('tue')])).toMatchObject({
    status: 4,
    stderr: expect.stringMatching(/holds web@tue since mon[\s\S]*backup\/exists/),
  });

  expect(await there.outcome(['backup', 'receive', 'web', file('tue')])).toMatchObject({
    status: 3,
  });
  await there.varve('backup', 'receive', 'web', file('mon'), '-n');
  expect(await volumesOf(there)).toEqual([]);
  await there.varve('backup', 'receive', 'web', file('mon'));
  const received = await there.varve('backup', 'receive', 'web', file('tue'), ...paced.slice(2));
  expect(received.parameters).toMatchObject({ rate_bytes_per_second: 200 * MiB });
  const again = await there.varve('backup', 'receive', 'web', file('tue'));
  expect(again).toMatchObject({ kind: 'Result', changed: false });
  expect(await snapshotsOf(there)).toEqual(await snapshotsOf(here));
  for (const snapshot of ['mon', 'tue']) await expectSameSnapshot(here, there, snapshot);
  await there.rest('PUT', '/v1/exports/web', { volume: 'web' });
  await expectIdentical(here.uri('web'), there.uri('web'));
  await expectSoundDisks(there, disks);
});

test('by pipes the same; what is there already is said so', async () => {
  const { here } = await written();
  const { here: there } = await started('512MiB');
  const rate = ['--rate', '200MiB/s'];
  const full = ['backup', 'send', 'web@mon', '-', ...rate];
  await piped(here, full, there, ['backup', 'receive', 'web', '-', ...rate]);
  const increment = ['backup', 'send', 'web@tue', '-', '--from', 'web@mon'];
  await piped(here, increment, there, ['backup', 'receive', 'web', '-']);
  const { stderr } = await piped(here, increment, there, ['backup', 'receive', 'web', '-']);
  expect(stderr).toContain('it is there already');
  for (const snapshot of ['mon', 'tue']) await expectSameSnapshot(here, there, snapshot);
});

test('a pipe that breaks leaves nothing under the name, and goes on', async () => {
  const { here, file } = await written();
  const { here: there } = await started('512MiB');
  await here.varve('backup', 'send', 'web@mon', file('mon'));
  const stream = readFileSync(file('mon'));
  writeFileSync(file('cut'), stream.subarray(0, 20 * MiB));
  const receiving = ['backup', 'receive', 'web', '-'];
  const cut = shell('bash', [
    '-c',
    `VARVE_SERVER=unix:${join(there.folder, 'api.sock')} ${process.execPath} dist/cli/main.js ${receiving.join(' ')} < ${file('cut')}`,
  ]);
  await expect(cut).rejects.toMatchObject({
    code: 7,
    stderr: expect.stringContaining('backup/cut'),
  });
  expect(await volumesOf(there)).toEqual(['web.receiving']);
  const kept = await there.rest('GET', '/v1/volumes/web.receiving');
  expect(kept.exclusive_bytes).toBeGreaterThan(15 * MiB);
  await there.varve('backup', 'receive', 'web', file('mon'));
  expect(await volumesOf(there)).toEqual(['web']);
  await expectSameSnapshot(here, there, 'mon');

  // Whoever reads what is sent goes away: the sending ends, and says so.
  const send = ['backup', 'send', 'web@mon', '-'];
  const gone = shell('bash', [
    '-c',
    `set -o pipefail; VARVE_SERVER=unix:${join(here.folder, 'api.sock')} ${process.execPath} dist/cli/main.js ${send.join(' ')} | head -c 1000 > /dev/null`,
  ]);
  await expect(gone).rejects.toMatchObject({ code: 7 });
  const { items = [] } = await here.varve('op', 'list');
  const [{ id }] = items as [{ id: string }];
  expect(await here.outcome(['op', 'wait', id])).toMatchObject({ status: 7 });
});

describe('killed in the middle', () => {
  test('sending and receiving go on after the restart', async () => {
    const { here, file } = await written();
    const body = { snapshot: 'mon', file: file('mon') };
    const { id: sending } = await here.rest('POST', '/v1/volumes/web/actions/send', body);
    await here.kill9();
    await here.restart();
    await here.varve('op', 'wait', sending as string);
    expect(existsSync(file('mon'))).toBe(true);
    expect(existsSync(`${file('mon')}.varve-sending`)).toBe(false);

    const { here: there, disks } = await started('512MiB');
    const receive = { file: file('mon') };
    const { id } = await there.rest('POST', '/v1/volumes/web/actions/receive', receive);
    await there.kill9();
    await there.restart();
    await there.varve('op', 'wait', id as string);
    expect(await volumesOf(there)).toEqual(['web']);
    await expectSameSnapshot(here, there, 'mon');
    await expectSoundDisks(there, disks);
  });

  test('a sending goes on behind the last whole frame of what is there', async () => {
    const { here, file } = await written();
    await here.varve('backup', 'send', 'web@mon', file('whole'));
    const whole = readFileSync(file('whole'));
    // As a kill leaves it, and as a power cut may: the end of it is not what was written.
    const part = Buffer.concat([whole.subarray(0, 12 * MiB), Buffer.alloc(MiB)]);
    writeFileSync(`${file('mon')}.varve-sending`, part);
    await here.varve('backup', 'send', 'web@mon', file('mon'));
    expect(Buffer.compare(readFileSync(file('mon')), whole)).toBe(0);
  });

  test('what was sent through the service ends with it, and is received anew', async () => {
    const { here, file } = await written();
    const { here: there } = await started('512MiB');
    await here.varve('backup', 'send', 'web@mon', file('mon'));
    const { id } = await there.rest('POST', '/v1/volumes/web/actions/receive', {});
    await there.kill9();
    await there.restart();
    expect(await there.varve('op', 'show', id as string)).toMatchObject({
      state: 'failed',
      error: { code: 'service/stopping' },
    });
    await there.varve('backup', 'receive', 'web', file('mon'));
    await expectSameSnapshot(here, there, 'mon');
  });
});

test('what does not fit is refused, and changes nothing', async () => {
  const { here, file } = await written();
  await here.varve('backup', 'send', 'web@mon', file('mon'));
  await here.varve('backup', 'send', 'web@tue', file('tue'), '--from', 'web@mon');
  const refused = async (to: Service, name: string, stream: string, code: string) => {
    const { status, stderr } = await to.outcome(['backup', 'receive', name, stream]);
    expect(stderr).toContain(code);
    expect(stderr).toContain('try:');
    expect(status).not.toBe(0);
  };
  // Another volume with a snapshot of that name; one that has been written since.
  await here.createExportedVolume('other', '128MiB');
  await here.varve('snapshot', 'create', 'other@mon');
  await refused(here, 'other', file('tue'), 'backup/base');
  await refused(here, 'web', file('nothing'), 'there is no file');
  await refused(here, 'web', here.folder, 'request/invalid');
  for (const text of ['no stream at all, but a text that is long enough to be one', 'short']) {
    writeFileSync(file('text'), text);
    await refused(here, 'copy', file('text'), 'backup/format');
  }
  writeFileSync(file('empty'), '');
  await refused(here, 'copy', file('empty'), 'nothing has come');
  const bad = readFileSync(file('mon'));
  bad[30 * MiB] = (bad[30 * MiB] as number) ^ 1;
  writeFileSync(file('bad'), bad);
  await refused(here, 'copy', file('bad'), 'backup/damaged');
  expect(await volumesOf(here)).toEqual(['copy.receiving', 'other', 'web']);
  await here.varve('backup', 'receive', 'copy', file('mon'));
  await here.rest('PUT', '/v1/exports/copy', { volume: 'copy' });
  await qemuIo(here.uri('copy'), 'write -P 9 0 4k');
  await refused(here, 'copy', file('tue'), 'backup/changed');
  await here.varve('volume', 'revert', 'copy@mon');
  await here.varve('backup', 'receive', 'copy', file('tue'));

  const { here: small } = await started('64MiB');
  await small.createExportedVolume('hog', '64MiB');
  await qemuIo(small.uri('hog'), 'write -P 1 0 30M');
  await refused(small, 'web', file('mon'), 'pool/full');
  expect(await volumesOf(small)).toEqual(['hog']);
});
