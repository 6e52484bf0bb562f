// Goal: no request to REST makes the service fail inside, hang or die, whatever is in it.
// Method: the real service with a pool of files; requests grown from its own OpenAPI document, most of them nearly right, sent one after the other and
//   side by side. Each is answered in time; what is refused is a problem with a code; afterwards the service is ready and the pool is whole.
//   Replay: FUZZ_SEED=n. More: FUZZ_RUNS=n.
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import {
  type OpenApiDocument,
  type RandomRequest,
  RandomRequests,
} from '../fuzz/random-requests.ts';

const count = Number(process.env.FUZZ_RUNS ?? 2000);
const sideBySide = 4;
const answerMsMax = 60_000;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** Events come until the reader goes, a backup until its end or an error: it goes with the first of what is answered. */
function isStream(message: IncomingMessage): boolean {
  const type = String(message.headers['content-type']);
  return type.startsWith('text/event-stream') || type === 'application/octet-stream';
}

function ask(socketPath: string, { method, path, headers, body }: RandomRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers, timeout: answerMsMax }, (message) => {
      const type = String(message.headers['content-type'] ?? '');
      const status = message.statusCode ?? 0;
      if (isStream(message)) {
        message.destroy();
        resolve({ status, type, text: '' });
        return;
      }
      let text = '';
      message.setEncoding('utf8');
      message.on('data', (chunk: string) => {
        text += chunk;
      });
      message.once('end', () => resolve({ status, type, text }));
      message.once('error', reject);
    });
    sent.once('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.once('error', reject);
    sent.end(body);
  });
}

/** What is wrong with an answer; undefined: nothing. */
function wrongWith({ status, type, text }: Answer): string | undefined {
  if (status < 400) return undefined;
  if (!type.startsWith('application/problem+json')) return `answered with ${status} and ${type}`;
  const { code } = JSON.parse(text) as { code?: unknown };
  if (typeof code !== 'string') return `a problem without a code: ${text}`;
  return code === 'service/internal' ? text : undefined;
}

test(`${count} random requests are answered, and none fails inside`, {
  timeout: 3_600_000,
}, async () => {
  const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
  const service = await Service.start();
  const socket = join(service.folder, 'api.sock');
  const disks = ['a', 'b', 'c'].map((name) => `${service.folder}/${name}.img?size=64MiB`);
  const known: Readonly<Record<string, readonly string[]>> = {
    pools: ['main', 'other'],
    pool: ['main', 'other'],
    disk: ['main:0', 'main:1', ...disks],
    disks,
    uri: disks,
    source: ['a@s', 'b@t', ...disks],
    volumes: ['a', 'b', 'c'],
    volume: ['a', 'b', 'c'],
    name: ['a', 'b', 's', 't'],
    names: ['a@s', 'b@s', 'b@t', 'c@x'],
    snapshot: ['a@s', 'b@t', 's', 't'],
    exports: ['a', 'b', 'x'],
    export: ['a', 'x'],
    to: ['main', 'other', 'fast', 'a@s'],
    class: ['fast'],
    listen: ['tcp:127.0.0.1:0', `unix:${service.folder}/x.sock`],
    id: ['1', '2', 'op-1'],
    dry_run: ['true'],
  };
  try {
    const document = (await service.rest('GET', '/v1/openapi.json')) as unknown as OpenApiDocument;
    const random = new RandomRequests(document, (field) => known[field] ?? []);
    const requests = fc.sample(random.arbitrary(), { seed, numRuns: count });
    const found: string[] = [];
    const statuses = new Map<number, number>();
    const askOne = async (wanted: RandomRequest) => {
      const told = JSON.stringify(wanted).slice(0, 2000);
      const answer = await ask(socket, wanted).catch((error: Error) => error);
      if (answer instanceof Error) {
        found.push(`${answer.message}: ${told}`);
        return;
      }
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      const wrong = wrongWith(answer);
      if (wrong !== undefined) found.push(`${wrong}: ${told}`);
    };
    for (let at = 0; at < requests.length && found.length < 5; at += sideBySide) {
      // What others asked for may have taken these away: without them most requests would end at once.
      if (at % 100 === 0)
        await restore(service, disks, `${service.folder}/new-${at}.img?size=64MiB`);
      await Promise.all(requests.slice(at, at + sideBySide).map(askOne));
    }
    expect(found, `FUZZ_SEED=${seed}`).toEqual([]);
    const done = [...statuses].reduce(
      (sum, [status, times]) => sum + (status < 300 ? times : 0),
      0,
    );
    expect(done, `FUZZ_SEED=${seed} ${JSON.stringify([...statuses])}`).toBeGreaterThan(count / 10);
    expect(
      await ask(socket, { method: 'GET', path: '/readyz', headers: {}, body: undefined }),
    ).toMatchObject({
      status: 200,
    });
    const exit = await service.stop();
    expect(exit, `FUZZ_SEED=${seed}`).toMatchObject({ status: 0 });
  } finally {
    await service.dispose();
  }
});

/** A pool with volumes, snapshots and an export: of the old disks while they have it, of a new one when requests made them useless. */
async function restore(service: Service, disks: readonly string[], newDisk: string): Promise<void> {
  const attempt = (method: string, path: string, body: object) =>
    service.rest(method, path, body).catch(() => undefined);
  await attempt('POST', '/v1/pools/actions/import', { disks });
  await attempt('PUT', '/v1/pools/main', { disks: disks.slice(0, 1) });
  await attempt('PUT', '/v1/pools/main', { disks: [newDisk] });
  for (const name of ['a', 'b'])
    await attempt('PUT', `/v1/volumes/${name}`, { size_bytes: 4_194_304, pool: 'main' });
  await attempt('POST', '/v1/snapshots', { names: ['a@s', 'b@t'] });
  await attempt('PUT', '/v1/exports/a', { volume: 'a' });
}
