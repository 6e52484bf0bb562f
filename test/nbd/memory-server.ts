/**
 * The native NBD server on memory (native/test/nbd_memory_server_main.cc), built, started and stopped for a test.
 *
 * `VARIANT=asan` or `tsan` in the environment runs the same tests on that build; a report of the sanitizer ends
 * the server with another code than 0, which stop() turns into a failure.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = join(import.meta.dirname, '../..');
const variant = process.env.VARIANT ?? 'plain';
const program = join(root, 'build/native', variant, 'nbd_memory_server_main');

export const backends = ['io_uring', 'epoll'] as const;

/** Builds the server; quick when nothing has changed. */
export function buildMemoryServer(): void {
  const args = ['-C', join(root, 'native'), `VARIANT=${variant}`];
  execFileSync('make', [...args, `../build/native/${variant}/nbd_memory_server_main`]);
}

export class MemoryServer {
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #exit: number | null | undefined;

  private constructor(
    readonly path: string,
    args: readonly string[],
  ) {
    this.#process = spawn(program, ['--unix', path, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const stdout = this.#process.stdout;
    if (!stdout) throw new Error('the server has no output');
    createInterface({ input: stdout }).on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
    this.#process.on('close', (code) => {
      this.#exit = code;
      this.#wake();
    });
  }

  /** Starts one in a folder of its own and waits until it listens. */
  static async start(...args: string[]): Promise<MemoryServer> {
    const path = join(mkdtempSync(join(tmpdir(), 'varve-nbd-')), 'socket');
    return MemoryServer.startAt(path, ...args);
  }

  static async startAt(path: string, ...args: string[]): Promise<MemoryServer> {
    const server = new MemoryServer(path, args);
    await server.line('ready');
    return server;
  }

  get uri(): string {
    return `nbd+unix:///?socket=${this.path}`;
  }

  get residentBytes(): number {
    const status = execFileSync('ps', ['-o', 'rss=', '-p', String(this.#process.pid)]);
    return Number(status.toString()) * 1024;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** The first line that begins so. @throws Error when the server ends without it. */
  async line(start: string): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => line.startsWith(start));
      if (found !== undefined) return found;
      if (this.#exit !== undefined) throw new Error(`the server ended without "${start}"`);
      await this.#change();
    }
  }

  async exited(): Promise<number | null> {
    while (this.#exit === undefined) await this.#change();
    return this.#exit;
  }

  /** @throws Error when it does not end in order. */
  async stop(): Promise<void> {
    this.signal('SIGTERM');
    const code = await this.exited();
    rmSync(join(this.path, '..'), { recursive: true, force: true });
    if (code !== 0) throw new Error(`the server exited with ${code}`);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
