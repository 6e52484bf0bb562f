/**
 * Image servers: each image that is read in place has a qemu-nbd of its own, which knows its format and shows what a guest would see of it.
 *
 *   STATE/images/ID.sock      private; the folder is emptied at the start
 *
 *   starting ─▶ serving ⇄ ended, and started again        closed is final
 *
 * Guarantees: opened for reading only; one that ends by itself is started again as long as a file is what it was, so that nothing reads two
 * states of one image; the kernel ends those of a service that is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { messageOf, StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { Image, ImageServer as Server, ImageServers as Servers } from '../pool/image-disk.ts';

/** Between looks whether it listens, and whether an image is what it was. */
const lookMs = 20;
const restartMs = 500;
/** A URL that does not answer keeps qemu-nbd from listening. */
const readyMs = 60_000;
/** Of what it complains of. */
const complaintCharsMax = 500;

export class ImageServers implements Servers {
  readonly #folder: string;
  readonly #log: Log;
  readonly #open = new Set<ImageServer>();

  private constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  /** @param folder made, and emptied of what a killed service left */
  static async open(folder: string, log: Log): Promise<ImageServers> {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
    return new ImageServers(folder, log);
  }

  /** @throws StorageError disk/unusable the image cannot be opened; image/tool there is no qemu-nbd */
  async serve(image: Image): Promise<Server> {
    const socketPath = join(this.#folder, `${newUuid().slice(0, 8)}.sock`);
    const server = new ImageServer(image, socketPath, this.#log);
    await server.start();
    this.#open.add(server);
    const close = async () => {
      this.#open.delete(server);
      await server.close();
    };
    return { socketPath, close };
  }

  /** Starts those of the image again: qemu does not look for a source that it has lost. Whoever reads waits for that moment. */
  renew({ format, source }: Image): void {
    for (const server of this.#open) {
      if (server.image.format === format && server.image.source === source) server.renew();
    }
  }
}

class ImageServer {
  readonly #log: Log;
  /** What the file was when it was opened; of a URL nothing is known. */
  #identity = '';
  #child: ChildProcess | undefined;
  #isClosed = false;
  #kept: Promise<void> = Promise.resolve();

  constructor(
    readonly image: Image,
    readonly socketPath: string,
    log: Log,
  ) {
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#identity = await identityOf(this.image.source);
    const child = this.#spawn();
    const complaint = complaintOf(child);
    try {
      await this.#listening(child);
    } catch (cause) {
      await this.close();
      if (cause instanceof StorageError) throw cause;
      const said = (await complaint) || messageOf(cause);
      const message = `image ${this.image.source} cannot be opened: ${said}`;
      throw new StorageError('disk/unusable', message, { cause });
    }
    this.#kept = this.#keep(child);
  }

  renew(): void {
    this.#child?.kill('SIGKILL');
  }

  /** May be called twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await endOf(this.#child);
    await this.#kept;
    await rm(this.socketPath, { force: true });
  }

  #spawn(): ChildProcess {
    const { format, source } = this.image;
    // As many clients as like: one that was lost may not be gone yet.
    const serving = ['--read-only', '--persistent', '--shared=0', '--format', format];
    const command = ['qemu-nbd', ...serving, '--socket', this.socketPath, source];
    // It must not outlive a service that is killed: nobody would end it.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    return this.#child;
  }

  /** @throws StorageError image/tool; Error it has ended, or takes too long */
  async #listening(child: ChildProcess): Promise<void> {
    let failure: Error | undefined;
    child.once('error', (cause) => {
      const message = `qemu-nbd cannot be run: ${messageOf(cause)}`;
      failure = new StorageError('image/tool', message, { cause });
    });
    const giveUpAt = performance.now() + readyMs;
    while (!(await answers(this.socketPath))) {
      if (failure !== undefined) throw failure;
      if (child.exitCode !== null || child.signalCode !== null) throw new Error('qemu-nbd ended');
      if (performance.now() > giveUpAt) throw new Error('it does not answer');
      await setTimeout(lookMs);
    }
  }

  async #keep(first: ChildProcess): Promise<void> {
    for (let child = first; ; ) {
      await endOf(child, { kill: false });
      if (this.#isClosed) return;
      const { source } = this.image;
      this.#log.warn({ image: source }, 'the server of an image has ended; it is started again');
      await rm(this.socketPath, { force: true });
      do await setTimeout(restartMs);
      while (!this.#isClosed && (await identityOf(source).catch(messageOf)) !== this.#identity);
      if (this.#isClosed) return;
      child = this.#spawn();
      child.stderr?.resume();
      child.on('error', () => {});
    }
  }
}

/** @throws Error there is no such file */
async function identityOf(source: string): Promise<string> {
  if (!source.startsWith('/')) return '';
  const { dev, ino, size, mtimeNs } = await stat(source, { bigint: true });
  return [dev, ino, size, mtimeNs].join(':');
}

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function endOf(child: ChildProcess | undefined, { kill = true } = {}): Promise<void> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  if (kill) child.kill('SIGKILL');
  await ended;
}

async function complaintOf(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stderr ?? []) {
    if (text.length < complaintCharsMax) text += String(chunk);
  }
  return text.replace(/^(qemu-nbd|setpriv): /, '').trim();
}
