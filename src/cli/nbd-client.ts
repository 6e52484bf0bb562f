/**
 * A small NBD client for the demo on machines that have none: one request at a time over a unix socket.
 *
 * Source: the NBD protocol, fixed newstyle handshake with NBD_OPT_GO, simple replies. Anything
 * unexpected ends with an error; nothing is retried.
 */
import { connect, type Socket } from 'node:net';

const magicServer = 0x4e42444d41474943n; // NBDMAGIC
const magicOption = 0x49484156454f5054n; // IHAVEOPT
const magicOptionReply = 0x3e889045565a9n;
const magicRequest = 0x25609513;
const magicReply = 0x67446698;
const clientFlags = 0x3; // fixed newstyle, no zeroes
const optionGo = 7;
const replyAck = 1;
const replyInfo = 3;
const commands = { read: 0, write: 1, disconnect: 2, flush: 3 } as const;

export class NbdClient {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #buffered: Buffer = Buffer.alloc(0);
  #cookie = 0n;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  /** @throws Error nobody listens, or there is no such export */
  static async connect(path: string, exportName: string): Promise<NbdClient> {
    const socket = connect(path);
    const client = new NbdClient(socket);
    await client.#handshake(exportName);
    return client;
  }

  /** Offsets and lengths in bytes. */
  async read(offset: number, length: number): Promise<Buffer> {
    await this.#request(commands.read, offset, length);
    return this.#take(length);
  }

  async write(offset: number, data: Buffer): Promise<void> {
    await this.#request(commands.write, offset, data.length, data);
  }

  /** Everything written before is on stable storage. */
  async flush(): Promise<void> {
    await this.#request(commands.flush, 0, 0);
  }

  close(): void {
    this.#socket.end(requestHeader(commands.disconnect, 0n, 0, 0));
  }

  async #handshake(exportName: string): Promise<void> {
    const greeting = await this.#take(18);
    if (
      greeting.readBigUInt64BE(0) !== magicServer ||
      greeting.readBigUInt64BE(8) !== magicOption
    ) {
      throw new Error('what answers does not speak NBD');
    }
    this.#socket.write(goOption(exportName));
    for (;;) {
      const header = await this.#take(20);
      if (header.readBigUInt64BE(0) !== magicOptionReply) throw new Error('not an option reply');
      const type = header.readUInt32BE(12);
      const payload = await this.#take(header.readUInt32BE(16));
      if (type === replyAck) return;
      if (type !== replyInfo) throw new Error(`no export ${exportName}: ${payload.toString()}`);
    }
  }

  async #request(command: number, offset: number, length: number, data?: Buffer): Promise<void> {
    this.#cookie += 1n;
    this.#socket.write(requestHeader(command, this.#cookie, offset, length));
    if (data !== undefined) this.#socket.write(data);
    const reply = await this.#take(16);
    if (reply.readUInt32BE(0) !== magicReply || reply.readBigUInt64BE(8) !== this.#cookie) {
      throw new Error('not the reply to this request');
    }
    const error = reply.readUInt32BE(4);
    if (error !== 0) throw new Error(`the server answered error ${error}`);
  }

  async #take(length: number): Promise<Buffer> {
    const chunks = [this.#buffered];
    let have = this.#buffered.length;
    while (have < length) {
      const next = await this.#chunks.next();
      if (next.done) throw new Error('the server closed the connection');
      chunks.push(next.value);
      have += next.value.length;
    }
    const all = Buffer.concat(chunks);
    this.#buffered = all.subarray(length);
    return all.subarray(0, length);
  }
}

/** Client flags, then NBD_OPT_GO without information requests. */
function goOption(exportName: string): Buffer {
  const name = Buffer.from(exportName);
  const message = Buffer.alloc(4 + 16 + 4 + name.length + 2);
  message.writeUInt32BE(clientFlags, 0);
  message.writeBigUInt64BE(magicOption, 4);
  message.writeUInt32BE(optionGo, 12);
  message.writeUInt32BE(4 + name.length + 2, 16);
  message.writeUInt32BE(name.length, 20);
  name.copy(message, 24);
  return message;
}

function requestHeader(command: number, cookie: bigint, offset: number, length: number): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(magicRequest, 0);
  header.writeUInt16BE(command, 6);
  header.writeBigUInt64BE(cookie, 8);
  header.writeBigUInt64BE(BigInt(offset), 16);
  header.writeUInt32BE(length, 24);
  return header;
}
