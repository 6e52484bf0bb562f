/**
 * The real service in a folder of its own: started, killed, restarted and spoken to as an operator would.
 *
 *   FOLDER/state     the service's --state (nbd.sock lies in it)
 *   FOLDER/api.sock  REST
 *   FOLDER/varve.toml its settings, none unless asked for
 *
 * Needs the build (`npm run build`). Nothing survives `dispose()`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type CommandOptions, type Outcome, outcomeOf } from './command.ts';
import { Daemon, type Exit } from './daemon.ts';

const folders = new Set<string>();
// After daemon.ts has ended the processes: an interrupted run leaves nothing behind either.
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** This checkout, whose build is started unless another one is asked for. */
const ownCheckout = resolve(import.meta.dirname, '../..');

export interface ServiceOptions {
  /** Flags for Node itself, e.g. the inspector's. */
  readonly nodeFlags?: readonly string[];
  /** The text of its configuration file. */
  readonly settings?: string;
  /** Its environment instead of this process's. */
  readonly env?: NodeJS.ProcessEnv;
  /** A start that takes longer is an error; half a minute unless given. */
  readonly readyMs?: number;
  /** Another checkout, built, to start instead of this one. */
  readonly checkout?: string;
  /** A command that runs the service, as a supervisor does; `signal` reaches it, not the service. */
  readonly runner?: readonly string[];
}

export class Service {
  readonly folder: string;
  #nodeFlags: readonly string[];
  readonly #runner: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  readonly #readyMs: number | undefined;
  readonly #command: string;
  #daemon: Daemon | undefined;

  private constructor(options: ServiceOptions) {
    this.folder = mkdtempSync(join(tmpdir(), 'varve-'));
    folders.add(this.folder);
    this.#nodeFlags = options.nodeFlags ?? [];
    this.#runner = options.runner ?? [];
    this.#env = options.env ?? process.env;
    this.#readyMs = options.readyMs;
    this.#command = join(options.checkout ?? ownCheckout, 'dist/cli/main.js');
    writeFileSync(this.#configPath, options.settings ?? '');
  }

  /** Starts a service with an empty state folder and waits until it is ready. */
  static async start(options: ServiceOptions = {}): Promise<Service> {
    const service = new Service(options);
    await service.restart();
    return service;
  }

  get state(): string {
    return join(this.folder, 'state');
  }

  get nbdSocket(): string {
    return join(this.state, 'nbd.sock');
  }

  /** Where its REST is, as VARVE_SERVER takes it. */
  get address(): string {
    return `unix:${this.#apiSocket}`;
  }

  get #configPath(): string {
    return join(this.folder, 'varve.toml');
  }

  get #apiSocket(): string {
    return join(this.folder, 'api.sock');
  }

  get #running(): Daemon {
    if (this.#daemon === undefined) throw new Error('the service is not started');
    return this.#daemon;
  }

  get pid(): number {
    return this.#running.pid;
  }

  get log(): string {
    return this.#running.log;
  }

  /** Starts the process and returns at once; `restart` is this and `ready`. @param flags more of `serve`'s */
  launch(flags: readonly string[] = []): void {
    const places = ['--state', this.state, '--socket', this.#apiSocket];
    const serve = ['serve', ...places, '--config', this.#configPath, ...flags];
    const args = [...this.#runner, process.execPath, ...this.#nodeFlags, this.#command, ...serve];
    const [program = '', ...rest] = args;
    this.#daemon = new Daemon(program, rest, { env: this.#env }).drainOutput();
  }

  /** The next process has the running one stop, goes on with its clients and is ready. */
  async takeOver(): Promise<void> {
    await this.beginTakeOver();
    await this.ready();
  }

  /** Until the running process has ended; the next one has the clients by then, and serves them when it is ready. */
  async beginTakeOver(): Promise<void> {
    let stopped = false;
    this.#running.exited.then(() => {
      stopped = true;
    });
    this.launch(['--take-over']);
    await this.#running.until(() => stopped, this.#readyMs);
  }

  /** Waits until the service says that it is ready. */
  ready(): Promise<void> {
    return this.#running.until(() => answersReady(this.#apiSocket), this.#readyMs);
  }

  /** @param options.nodeFlags from now on instead of those before */
  async restart({ nodeFlags = this.#nodeFlags } = {}): Promise<void> {
    this.#nodeFlags = nodeFlags;
    this.launch();
    await this.ready();
  }

  /** Ends the process as a crash would; its memory is lost, the kernel's page cache is not. */
  async kill9(): Promise<void> {
    await this.#running.end('SIGKILL');
  }

  /** Stops the process where it is (SIGSTOP), or lets it go on (SIGCONT); SIGHUP means something to a runner only. */
  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void {
    this.#running.signal(signal);
  }

  /** Asks for an orderly stop and waits for it. */
  stop(): Promise<Exit> {
    return this.#running.end('SIGTERM');
  }

  /** A varve command against this service, whatever its exit status. */
  outcome(args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
    const env = { ...process.env, VARVE_SERVER: this.address, NO_COLOR: '1' };
    return outcomeOf(process.execPath, [this.#command, ...args], { ...options, env });
  }

  /** A varve command that must succeed; returns its JSON document. */
  async varve(...args: string[]): Promise<Document> {
    const { status, stdout, stderr } = await this.outcome([...args, '-o', 'json', '--yes']);
    if (status !== 0) throw new Error(`varve ${args.join(' ')} ended with ${status}\n${stderr}`);
    return JSON.parse(stdout) as Document;
  }

  /** A request to REST without the command's start in its time. @throws Error the answer is an error's */
  async rest(method: string, path: string, body?: object): Promise<Document> {
    const { status, text } = await exchange({ socketPath: this.#apiSocket, method, path }, body);
    if (status >= 300) throw new Error(`${method} ${path} was answered with ${status}\n${text}`);
    return JSON.parse(text) as Document;
  }

  /** Cuts a volume from pool `main` and exports it. @returns its NBD URI on the default listener */
  async createExportedVolume(name: string, size: string): Promise<string> {
    await this.varve('volume', 'create', name, '--size', size, '--pool', 'main');
    await this.varve('export', 'add', name);
    return this.uri(name);
  }

  /** Creates pool `main` on `count` sparse files of `size` each. */
  async createPool(size: string, count = 1): Promise<readonly string[]> {
    const files = Array.from({ length: count }, (_, index) =>
      join(this.folder, `disk${index}.img`),
    );
    await this.varve('pool', 'create', 'main', ...files.map((file) => `file:${file}?size=${size}`));
    return files;
  }

  uri(exportName: string): string {
    return `nbd+unix:///${encodeURIComponent(exportName)}?socket=${this.nbdSocket}`;
  }

  /** Ends the process if it runs and removes the folder. */
  async dispose(): Promise<void> {
    await this.#daemon?.end('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
    folders.delete(this.folder);
  }
}

/** A JSON document of cli.md section 1; tests narrow what they look at. */
export interface Document {
  readonly api_version: string;
  readonly kind: string;
  readonly items?: readonly Record<string, unknown>[];
  readonly [field: string]: unknown;
}

function exchange(
  options: RequestOptions,
  body: object | undefined,
): Promise<{ status: number; text: string }> {
  return new Promise((resolveAnswer, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const sent = request({ ...options, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () => resolveAnswer({ status: response.statusCode ?? 0, text }));
    });
    sent.once('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function answersReady(socketPath: string): Promise<boolean> {
  return new Promise((resolveReady) => {
    const probe = request({ socketPath, path: '/readyz', timeout: 1000 }, (response) => {
      response.resume();
      resolveReady(response.statusCode === 200);
    });
    probe.once('timeout', () => probe.destroy());
    probe.once('error', () => resolveReady(false));
    probe.end();
  });
}
