// Goal: connections begin, are served and end as they must, and no client harms another.
// Method: raw sockets against the server on memory, on both kinds of event loop, two loops each.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { backends, buildMemoryServer, MemoryServer } from './memory-server.ts';
import {
  command,
  type Framing,
  goData,
  optionBytes,
  RawClient,
  requestBytes,
  u32,
} from './raw-client.ts';

const page = Buffer.alloc(4096, 'p');
const mebibyte = 1024 * 1024;

beforeAll(buildMemoryServer);

describe.each(backends)('on %s', (backend) => {
  let server: MemoryServer;
  const serve = async (...args: string[]) => {
    server = await MemoryServer.start('--backend', backend, '--loops', '2', ...args);
    return server;
  };
  afterEach(() => server.stop());

  test.each<Framing>(['simple', 'structured', 'extended'])(
    'a %s client reads what it wrote',
    async (framing) => {
      await serve();
      const client = await RawClient.open(server.path, framing);
      expect(await client.write(8192, page)).toBe(0);
      const reply = await client.ask({ command: command.read, offset: 8192, length: 4096 });
      expect(reply.payload.subarray(-4096).equals(page)).toBe(true);
      await client.close();
    },
  );

  test('half-close: what was received is answered, then the server closes', async () => {
    await serve();
    const client = await RawClient.open(server.path);
    for (let i = 0; i < 100; i++) client.request({ command: command.flush, cookie: BigInt(i) });
    client.socket.end();
    expect((await client.rest()).length).toBe(100 * 16);
  });

  test('requests sent behind GO without waiting are served', async () => {
    await serve();
    const client = await RawClient.connect(server.path);
    const read = requestBytes('simple', { command: command.read, length: 4096 });
    client.send(u32(3), optionBytes(7, goData('')), read, read);
    const total = 20 + 12 + (20 + 14) + 20 + 2 * (16 + 4096);
    expect((await client.read(total)).length).toBe(total);
    await client.close();
  });

  test('a client cut off in the middle of a write leaves no trace, and the others go on', async () => {
    await serve();
    const other = await RawClient.open(server.path);
    for (let i = 0; i < 20; i++) {
      const client = await RawClient.open(server.path);
      client.request(
        { command: command.write, offset: 0, length: mebibyte },
        Buffer.alloc(500_000, 'x'),
      );
      client.destroy();
    }
    expect(await other.write(mebibyte, page)).toBe(0);
    const reply = await other.ask({ command: command.read, offset: 0, length: 4096 });
    expect(reply.payload.equals(Buffer.alloc(4096))).toBe(true);
    await other.close();
  });

  test('a client that hangs up with replies pending harms nobody', async () => {
    await serve();
    for (let i = 0; i < 20; i++) {
      const client = await RawClient.open(server.path);
      for (let k = 0; k < 64; k++) client.request({ command: command.read, length: mebibyte });
      client.destroy();
    }
    const client = await RawClient.open(server.path);
    expect(await client.write(0, page)).toBe(0);
    await client.close();
  });

  test('a silent handshake ends after its time, a served client stays', async () => {
    await serve('--handshake-ms', '200');
    const served = await RawClient.open(server.path);
    const silent = await RawClient.connect(server.path);
    expect((await silent.rest()).length).toBe(0);
    expect(await served.write(0, page)).toBe(0);
    await served.close();
  });

  test('too many handshakes: the newest is refused, established clients stay', async () => {
    await serve('--handshakes', '4');
    const served = await RawClient.open(server.path);
    const idle = await Promise.all([1, 2, 3, 4].map(() => RawClient.connect(server.path)));
    await expect(RawClient.connect(server.path)).rejects.toThrow('closed');
    expect(await served.write(0, page)).toBe(0);
    expect(await idle[0]?.option(3).catch(() => 0)).toBeDefined();
    for (const client of idle) client.destroy();
    await served.close();
  });

  test('too many clients: the next is told so', async () => {
    await serve('--clients', '2');
    const clients = [await RawClient.open(server.path), await RawClient.open(server.path)];
    const refused = await RawClient.connect(server.path);
    refused.send(u32(3));
    expect(await refused.option(7, goData(''))).toBe(0x80000002);
    refused.destroy();
    for (const client of clients) await client.close();
  });

  test('removing an export answers what is in flight, without errors, and closes', async () => {
    await serve('--write-delay-ms', '100');
    const clients = await Promise.all([1, 2, 3].map(() => RawClient.open(server.path)));
    for (const client of clients) client.request({ command: command.write, length: 4096 }, page);
    // A read is answered at once, so the write before it has been received.
    for (const client of clients)
      expect((await client.ask({ command: command.cache })).error).toBe(0);
    server.signal('SIGUSR1');
    for (const client of clients) expect((await client.rest()).readUInt32BE(4)).toBe(0);
    expect(await server.line('removed')).toBe('removed 3');
    const again = await RawClient.open(server.path);
    expect(await again.write(0, page)).toBe(0);
    await again.close();
  });

  test('a planned stop answers what is in flight and exits', async () => {
    await serve('--write-delay-ms', '100');
    const client = await RawClient.open(server.path);
    const idle = await RawClient.connect(server.path);
    client.request({ command: command.write, length: 4096 }, page);
    expect((await client.ask({ command: command.cache })).error).toBe(0);
    server.signal('SIGTERM');
    expect((await client.rest()).readUInt32BE(4)).toBe(0);
    expect((await idle.rest()).length).toBe(0);
    expect(await server.exited()).toBe(0);
  });

  test('a new connection is not acknowledged before the writes of a dropped one have ended', async () => {
    await serve('--write-delay-ms', '300');
    const old = await RawClient.open(server.path);
    for (let i = 0; i < 8; i++) old.request({ command: command.write, length: 4096 }, page);
    expect((await old.ask({ command: command.cache })).error).toBe(0);
    old.destroy();
    const fresh = await RawClient.open(server.path);
    fresh.request({ command: command.write, length: 4096 }, Buffer.alloc(4096, 'n'));
    expect((await fresh.ask({ command: command.cache, cookie: 2n })).cookie).toBe(2n);
    expect((await fresh.reply()).error).toBe(0);
    expect(server.lines.filter((line) => line.startsWith('gone')).length).toBe(1);
    await fresh.close();
  });

  test('clients that announce large writes and stall cost little', async () => {
    await serve();
    const before = server.residentBytes;
    const stalled: RawClient[] = [];
    for (let i = 0; i < 64; i++) {
      const client = await RawClient.open(server.path);
      client.request({ command: command.write, length: 32 * mebibyte }, page);
      stalled.push(client);
    }
    const other = await RawClient.open(server.path);
    expect(await other.write(0, Buffer.alloc(mebibyte, 'o'))).toBe(0);
    expect(server.residentBytes - before).toBeLessThan(64 * mebibyte);
    for (const client of stalled) client.destroy();
    await other.close();
  });

  test('clients that do not read cannot keep the memory from others', async () => {
    await serve('--buffers', String(4 * mebibyte));
    const hogs: RawClient[] = [];
    for (let i = 0; i < 6; i++) {
      const hog = await RawClient.open(server.path);
      hog.socket.pause();
      for (let k = 0; k < 8; k++) hog.request({ command: command.read, length: mebibyte });
      hogs.push(hog);
    }
    const other = await RawClient.open(server.path);
    expect(await other.write(0, Buffer.alloc(2 * mebibyte, 'o'))).toBe(0);
    for (const hog of hogs) hog.destroy();
    await other.close();
  });

  test('garbage at any point ends that connection only', async () => {
    await serve();
    const other = await RawClient.open(server.path);
    const garbage = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) % 251));
    for (const framing of ['simple', 'structured', 'extended'] as const) {
      const client = await RawClient.open(server.path, framing);
      client.send(garbage);
      expect((await client.rest()).length).toBe(0);
    }
    const client = await RawClient.connect(server.path);
    client.send(garbage);
    expect((await client.rest()).length).toBe(0);
    expect(await other.write(0, page)).toBe(0);
    await other.close();
  });

  test('many clients at once, each on its own range', async () => {
    await serve();
    const serveOne = async (index: number) => {
      const framing = (['simple', 'structured', 'extended'] as const)[index % 3] ?? 'simple';
      const client = await RawClient.open(server.path, framing);
      for (let round = 0; round < 20; round++) {
        const data = Buffer.alloc(1 + ((index * 7919 + round * 104_729) % 100_000), index + round);
        const offset = index * 4 * mebibyte + round * 131_072;
        expect(await client.write(offset, data)).toBe(0);
        const reply = await client.ask({
          command: command.read,
          offset,
          length: data.length,
          flags: framing === 'simple' ? 0 : 4,
        });
        expect(reply.payload.subarray(-data.length).equals(data)).toBe(true);
      }
      await client.close();
    };
    await Promise.all(Array.from({ length: 48 }, (_, index) => serveOne(index)));
  });

  test('a stale socket is replaced, a live one and a file are not', async () => {
    await serve();
    await expect(MemoryServer.startAt(server.path, '--backend', backend)).rejects.toThrow('ended');
    const client = await RawClient.open(server.path);
    await client.close();
    const file = join(server.path, '../file');
    writeFileSync(file, '');
    await expect(MemoryServer.startAt(file, '--backend', backend)).rejects.toThrow('ended');
    const long = join(server.path, '..', 'x'.repeat(120));
    await expect(MemoryServer.startAt(long, '--backend', backend)).rejects.toThrow('ended');
    server.signal('SIGKILL');
    await server.exited();
    server = await MemoryServer.startAt(server.path, '--backend', backend);
    const again = await RawClient.open(server.path);
    await again.close();
  });
});
