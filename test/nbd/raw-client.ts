/**
 * An NBD client byte by byte: for what no real client does, and for extended headers, which few speak.
 *
 * Nothing is checked here but lengths; tests compare.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export type Framing = 'simple' | 'structured' | 'extended';

export const command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

const optionGo = 7;
const optionStructured = 8;
const optionSetContext = 10;
const optionExtended = 11;

export interface Request {
  readonly command: number;
  readonly flags?: number;
  readonly cookie?: bigint;
  readonly offset?: number;
  readonly length?: number;
}

export interface ReplyChunk {
  readonly cookie: bigint;
  readonly done: boolean;
  readonly type: number;
  readonly error: number;
  readonly payload: Buffer;
}

export class RawClient {
  #received = Buffer.alloc(0);
  #ended = false;
  #wake = () => {};
  framing: Framing = 'simple';

  private constructor(readonly socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake();
    });
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('end', end).on('close', end).on('error', end);
  }

  /** Connects and reads the greeting. */
  static async connect(path: string): Promise<RawClient> {
    const client = new RawClient(connect({ path, allowHalfOpen: true }));
    await client.read(18);
    return client;
  }

  /** Connects and negotiates up to transmission; with chunks, base:allocation is selected. */
  static async open(path: string, framing: Framing = 'simple'): Promise<RawClient> {
    const client = await RawClient.connect(path);
    client.send(u32(3));
    if (framing !== 'simple') {
      await client.option(framing === 'extended' ? optionExtended : optionStructured);
      await client.option(
        optionSetContext,
        Buffer.concat([text(''), u32(1), text('base:allocation')]),
      );
    }
    await client.option(optionGo, goData(''));
    client.framing = framing;
    return client;
  }

  send(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** @throws Error when the stream ends before. */
  async read(length: number): Promise<Buffer> {
    while (this.#received.length < length) {
      if (this.#ended) throw new Error('the server closed the connection');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const bytes = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return bytes;
  }

  /** What still comes until the server closes. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#received;
  }

  /** Sends an option; returns the type of its final reply. */
  async option(option: number, data: Buffer = Buffer.alloc(0)): Promise<number> {
    this.send(optionBytes(option, data));
    for (;;) {
      const header = await this.read(20);
      await this.read(header.readUInt32BE(16));
      const type = header.readUInt32BE(12);
      if (type === 1 || type >= 0x80000000) return type;
    }
  }

  request(request: Request, payload: Buffer = Buffer.alloc(0)): void {
    this.send(requestBytes(this.framing, request), payload);
  }

  /** One message. `readLength`: bytes that follow a successful simple reply. */
  async reply(readLength = 0): Promise<ReplyChunk> {
    const magic = (await this.read(4)).readUInt32BE();
    if (magic === 0x67446698) {
      const header = await this.read(12);
      const error = header.readUInt32BE(0);
      const payload = error === 0 ? await this.read(readLength) : Buffer.alloc(0);
      return { cookie: header.readBigUInt64BE(4), done: true, type: -1, error, payload };
    }
    const extended = magic === 0x6e8a278c;
    const header = await this.read(extended ? 28 : 16);
    const length = extended ? Number(header.readBigUInt64BE(20)) : header.readUInt32BE(12);
    const payload = await this.read(length);
    const type = header.readUInt16BE(2);
    return {
      cookie: header.readBigUInt64BE(4),
      done: (header.readUInt16BE(0) & 1) === 1,
      type,
      error: type >= 0x8000 ? payload.readUInt32BE(0) : 0,
      payload,
    };
  }

  /** Sends a request and waits for its only message. */
  async ask(request: Request, payload?: Buffer): Promise<ReplyChunk> {
    this.request(request, payload);
    return this.reply(request.command === command.read ? request.length : 0);
  }

  async write(offset: number, data: Buffer): Promise<number> {
    return (await this.ask({ command: command.write, offset, length: data.length }, data)).error;
  }

  /** Hangs up without a word. */
  destroy(): void {
    this.socket.destroy();
  }

  async close(): Promise<void> {
    this.request({ command: command.disconnect });
    this.socket.end();
    if (!this.socket.closed) await once(this.socket, 'close');
  }
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);
}

export function goData(name: string): Buffer {
  return Buffer.concat([text(name), Buffer.alloc(2)]);
}

export function optionBytes(option: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(option), u32(data.length), data]);
}

export function requestBytes(framing: Framing, request: Request): Buffer {
  const extended = framing === 'extended';
  const bytes = Buffer.alloc(extended ? 32 : 28);
  bytes.writeUInt32BE(extended ? 0x21e41c71 : 0x25609513, 0);
  bytes.writeUInt16BE(request.flags ?? 0, 4);
  bytes.writeUInt16BE(request.command, 6);
  bytes.writeBigUInt64BE(request.cookie ?? 1n, 8);
  bytes.writeBigUInt64BE(BigInt(request.offset ?? 0), 16);
  if (extended) bytes.writeBigUInt64BE(BigInt(request.length ?? 0), 24);
  else bytes.writeUInt32BE(request.length ?? 0, 24);
  return bytes;
}
