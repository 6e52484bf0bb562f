/**
 * A guest agent's double on a unix socket: QEMU's side of the channel with a guest of three filesystems behind it.
 *
 * Answers as qemu-ga does, in the order of asking, unless a test scripts a command otherwise.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Command =
  | 'guest-sync-delimited'
  | 'guest-fsfreeze-status'
  | 'guest-fsfreeze-freeze'
  | 'guest-fsfreeze-thaw';

interface Request {
  readonly execute: Command;
  readonly arguments?: { readonly id: number };
}

/** What happens instead of the usual answer. */
export type Script = (agent: FakeAgent, socket: Socket) => void;

export const filesystems = 3;

export class FakeAgent {
  readonly #folder = mkdtempSync(join(tmpdir(), 'varve-agent-'));
  readonly path = join(this.#folder, 'agent.sock');
  readonly #scripts: Partial<Record<Command, Script>>;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  /** Every command that came, on whatever connection. */
  readonly commands: Command[] = [];
  /** Sent as soon as a client connects. */
  stale: Buffer = Buffer.alloc(0);
  /** How an answer is written; in one piece unless a test says otherwise. */
  send: (socket: Socket, answer: Buffer) => void = (socket, answer) => socket.write(answer);
  frozen = 0;

  constructor(scripts: Partial<Record<Command, Script>> = {}) {
    this.#scripts = scripts;
  }

  async listen(): Promise<this> {
    this.#server = createServer((socket) => this.#serve(socket)).listen(this.path);
    await once(this.#server, 'listening');
    return this;
  }

  /** Nobody can connect any more; connections stay. */
  stopListening(): void {
    this.#server?.close();
  }

  /** Freezes or thaws as the guest would. @returns how many filesystems changed */
  setFrozen(count: number): number {
    const changed = Math.abs(this.frozen - count);
    this.frozen = count;
    return changed;
  }

  answer(socket: Socket, content: object, prefix: Buffer = Buffer.alloc(0)): void {
    this.send(socket, Buffer.concat([prefix, Buffer.from(`${JSON.stringify(content)}\n`)]));
  }

  refuse(socket: Socket, desc: string, errorClass = 'GenericError'): void {
    this.answer(socket, { error: { class: errorClass, desc } });
  }

  close(): void {
    this.stopListening();
    for (const socket of this.#sockets) socket.destroy();
    rmSync(this.#folder, { recursive: true });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    if (this.stale.length > 0) socket.write(this.stale);
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      // The byte 0xFF drops what stood before it in its line.
      const lines = text.split('\n').map((line) => line.slice(line.lastIndexOf('\xff') + 1));
      text = lines.pop() ?? '';
      for (const line of lines) this.#handle(socket, JSON.parse(line) as Request);
    });
  }

  #handle(socket: Socket, request: Request): void {
    this.commands.push(request.execute);
    const script = this.#scripts[request.execute];
    if (script !== undefined) return script(this, socket);
    if (request.execute === 'guest-sync-delimited') {
      return this.answer(socket, { return: request.arguments?.id }, Buffer.of(0xff));
    }
    this.answer(socket, { return: this.#usual(request.execute) });
  }

  #usual(command: Command): string | number {
    if (command === 'guest-fsfreeze-status') return this.frozen > 0 ? 'frozen' : 'thawed';
    return this.setFrozen(command === 'guest-fsfreeze-freeze' ? filesystems : 0);
  }
}
