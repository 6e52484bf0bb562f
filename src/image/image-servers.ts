/**
 * Image servers: each image that is read in place has a qemu-nbd of its own, which knows its format and shows what a guest would see of it.
 *
 *   STATE/images/ID.sock      private; the folder is emptied at the start
 *
 *   started ─▶ (listens on ID.sock.new) looked at ─▶ (on ID.sock) serving ─▶ ended, or not what it was: again        closed is final
 *
 * Guarantees: opened for reading only; nothing is read on ID.sock of what was not looked at since its process began, so that nothing reads two
 * states of one image; one that is not there is tried again for as long as it takes; the kernel ends those of a service that is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { messageOf, StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type {
  Image,
  ImageWatch,
  ImageServer as Server,
  ImageServers as Servers,
} from '../pool/image-disk.ts';

/** Between looks whether it listens. */
const lookMs = 20;
/** Before one that ended, or could not be had, is tried again: longer each time, for as long as it takes. */
const retryMsMin = 500;
const retryMsMax = 10_000;
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
    const { source } = image;
    const identity = await identityOf(source).catch((cause) => {
      throw cannotOpen(image, messageOf(cause), cause);
    });
    const accept = async () => {
      if ((await identityOf(source)) !== identity) throw new Error('it was changed');
    };
    const server = this.#new(image, { accept, onProblem: () => {} });
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  keep(image: Image, watch: ImageWatch): Server {
    const server = this.#new(image, watch);
    server.startLater();
    return server;
  }

  /** Starts those of the image again: of some sources (ssh) qemu does not look for one that it has lost. Whoever reads waits for that moment. */
  renew({ format, source }: Image): void {
    for (const server of this.#open) {
      if (server.image.format === format && server.image.source === source) server.renew();
    }
  }

  #new(image: Image, watch: ImageWatch): ImageServer {
    const socketPath = join(this.#folder, `${newUuid().slice(0, 8)}.sock`);
    const onClosed = () => this.#open.delete(server);
    const server = new ImageServer(image, socketPath, { ...watch, onClosed, log: this.#log });
    this.#open.add(server);
    return server;
  }
}

class ImageServer implements Server {
  readonly #parts: ImageWatch & { readonly onClosed: () => void; readonly log: Log };
  #problem: string | null = null;
  #child: ChildProcess | undefined;
  #isClosed = false;
  #pause = new AbortController();
  #kept: Promise<void> = Promise.resolve();

  constructor(
    readonly image: Image,
    readonly socketPath: string,
    parts: ImageWatch & { readonly onClosed: () => void; readonly log: Log },
  ) {
    this.#parts = parts;
  }

  get problem(): string | null {
    return this.#problem;
  }

  /** Serves when it resolves. @throws StorageError disk/unusable, image/tool */
  async start(): Promise<void> {
    this.#kept = this.#keep(await this.#serve());
  }

  /** Serves as soon as it can. */
  startLater(): void {
    this.#kept = this.#keep();
  }

  renew(): void {
    this.#child?.kill('SIGKILL');
    this.#pause.abort();
  }

  /** May be called twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#pause.abort();
    await endOf(this.#child);
    await this.#kept;
    await rm(this.socketPath, { force: true });
    this.#parts.onClosed();
  }

  async #keep(first?: ChildProcess): Promise<void> {
    let pauseMs = 0;
    for (let child = first; ; ) {
      if (child !== undefined) {
        await endOf(child, { kill: false });
        pauseMs = retryMsMin;
        this.#noteEnd();
      }
      await this.#rest(pauseMs);
      if (this.#isClosed) return;
      child = await this.#serve().catch((error: unknown) => this.#tell(messageOf(error)));
      if (child !== undefined) this.#tell(null);
      pauseMs = Math.min(retryMsMax, Math.max(retryMsMin, 2 * pauseMs));
    }
  }

  /** Its socket has its name when what answers there was looked at. @throws StorageError disk/unusable, image/tool */
  async #serve(): Promise<ChildProcess> {
    const unseenPath = `${this.socketPath}.new`;
    for (const path of [this.socketPath, unseenPath]) await rm(path, { force: true });
    if (this.#isClosed) throw cannotOpen(this.image, 'it is needed no more');
    const child = this.#spawn(unseenPath);
    const complaint = complaintOf(child);
    try {
      await this.#listening(child, unseenPath);
      await this.#parts.accept(unseenPath);
      await rename(unseenPath, this.socketPath);
      return child;
    } catch (cause) {
      await endOf(child);
      await rm(unseenPath, { force: true });
      if (cause instanceof StorageError) throw cause;
      throw cannotOpen(this.image, (await complaint) || messageOf(cause), cause);
    }
  }

  #spawn(socketPath: string): ChildProcess {
    const { format, source } = this.image;
    // As many clients as like: one that was lost may not be gone yet.
    const serving = ['--read-only', '--persistent', '--shared=0', '--format', format];
    const command = ['qemu-nbd', ...serving, '--socket', socketPath, source];
    // It must not outlive a service that is killed: nobody would end it.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    return this.#child;
  }

  /** @throws StorageError image/tool; Error it has ended, or takes too long */
  async #listening(child: ChildProcess, socketPath: string): Promise<void> {
    let failure: Error | undefined;
    child.on('error', (cause) => {
      const message = `qemu-nbd cannot be run: ${messageOf(cause)}`;
      failure = new StorageError('image/tool', message, { cause });
    });
    const giveUpAt = performance.now() + readyMs;
    while (!(await answers(socketPath))) {
      if (failure !== undefined) throw failure;
      if (child.exitCode !== null || child.signalCode !== null) throw new Error('qemu-nbd ended');
      if (performance.now() > giveUpAt) throw new Error('it does not answer');
      await setTimeout(lookMs);
    }
  }

  async #rest(ms: number): Promise<void> {
    if (this.#isClosed) return;
    this.#pause = new AbortController();
    await setTimeout(ms, undefined, { signal: this.#pause.signal }).catch(() => {});
  }

  #noteEnd(): void {
    if (this.#isClosed) return;
    const { source } = this.image;
    this.#parts.log.warn(
      { image: source },
      'the server of an image has ended; it is started again',
    );
  }

  #tell(problem: string | null): undefined {
    if (this.#isClosed || this.#problem === problem) return;
    this.#problem = problem;
    if (problem !== null) this.#parts.onProblem(problem);
  }
}

function cannotOpen({ source }: Image, why: string, cause?: unknown): StorageError {
  return new StorageError('disk/unusable', `image ${source} cannot be opened: ${why}`, { cause });
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
