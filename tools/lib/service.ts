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
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Daemon, type Exit } from './daemon.ts';
import { ServiceAccess } from './service-access.ts';

export type { Document } from './service-access.ts';

const folders = new Set<string>();
// After daemon.ts has ended the processes: an interrupted run leaves nothing behind either.
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export interface ServiceOptions {
  /** Another checkout, built, to start instead of this one. */
  readonly checkout?: string;
  /** Flags for Node itself, e.g. the inspector's. */
  readonly nodeFlags?: readonly string[];
  /** The text of its configuration file. */
  readonly settings?: string;
  /** Its environment instead of this process's. */
  readonly env?: NodeJS.ProcessEnv;
  /** A start that takes longer is an error; half a minute unless given. */
  readonly readyMs?: number;
  /** A command that runs the service, as a supervisor does; `signal` reaches it, not the service. */
  readonly runner?: readonly string[];
}

export class Service extends ServiceAccess {
  #nodeFlags: readonly string[];
  readonly #runner: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  readonly #readyMs: number | undefined;
  #daemon: Daemon | undefined;

  private constructor(options: ServiceOptions) {
    const folder = mkdtempSync(join(tmpdir(), 'varve-'));
    const { checkout } = options;
    super({
      folder,
      state: join(folder, 'state'),
      apiSocket: join(folder, 'api.sock'),
      checkout,
    });
    folders.add(this.folder);
    this.#nodeFlags = options.nodeFlags ?? [];
    this.#runner = options.runner ?? [];
    this.#env = options.env ?? process.env;
    this.#readyMs = options.readyMs;
    writeFileSync(this.#configPath, options.settings ?? '');
  }

  /** Starts a service with an empty state folder and waits until it is ready. */
  static async start(options: ServiceOptions = {}): Promise<Service> {
    const service = new Service(options);
    await service.restart();
    return service;
  }

  get #configPath(): string {
    return join(this.folder, 'varve.toml');
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
    const places = ['--state', this.state, '--socket', this.apiSocket];
    const serve = ['serve', ...places, '--config', this.#configPath, ...flags];
    const args = [...this.#runner, process.execPath, ...this.#nodeFlags, this.command, ...serve];
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
    return this.#running.until(() => answersReady(this.apiSocket), this.#readyMs);
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

  /** Ends the process if it runs and removes the folder. */
  async dispose(): Promise<void> {
    await this.#daemon?.end('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
    folders.delete(this.folder);
  }
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
