/**
 * A running service as those who use it reach it: by commands, by REST and at its NBD socket, however its process was started.
 *
 * Needs the build (`npm run build`).
 */
import { type RequestOptions, request } from 'node:http';
import { join, resolve } from 'node:path';
import { type CommandOptions, type Outcome, outcomeOf } from './command.ts';

/** This checkout, whose build is used unless another one is asked for. */
const ownCheckout = resolve(import.meta.dirname, '../..');

/** As this process finds them. */
export interface Places {
  /** Where its disks are made. */
  readonly folder: string;
  /** Its state folder. */
  readonly state: string;
  /** REST's socket. */
  readonly apiSocket: string;
  /** Another checkout, built, whose commands are used. */
  readonly checkout?: string | undefined;
}

export class ServiceAccess {
  readonly folder: string;
  readonly state: string;
  protected readonly apiSocket: string;
  /** The varve command. */
  protected readonly command: string;

  constructor({ folder, state, apiSocket, checkout = ownCheckout }: Places) {
    this.folder = folder;
    this.state = state;
    this.apiSocket = apiSocket;
    this.command = join(checkout, 'dist/cli/main.js');
  }

  get nbdSocket(): string {
    return join(this.state, 'nbd.sock');
  }

  /** Where its REST is, as VARVE_SERVER takes it. */
  get address(): string {
    return `unix:${this.apiSocket}`;
  }

  /** A varve command against this service, whatever its exit status. */
  outcome(args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
    const env = { ...process.env, VARVE_SERVER: this.address, NO_COLOR: '1' };
    return outcomeOf(process.execPath, [this.command, ...args], { ...options, env });
  }

  /** A varve command that must succeed; returns its JSON document. */
  async varve(...args: string[]): Promise<Document> {
    const { status, stdout, stderr } = await this.outcome([...args, '-o', 'json', '--yes']);
    if (status !== 0) throw new Error(`varve ${args.join(' ')} ended with ${status}\n${stderr}`);
    return JSON.parse(stdout) as Document;
  }

  /** A request to REST without the command's start in its time. @throws Error the answer is an error's */
  async rest(method: string, path: string, body?: object): Promise<Document> {
    return JSON.parse(await this.#answer(method, path, body)) as Document;
  }

  /** A metric of the service, the sum of its samples. */
  async metric(name: string): Promise<number> {
    const lines = (await this.#answer('GET', '/metrics')).split('\n');
    const samples = lines.filter((line) => line.startsWith(`${name}{`));
    return samples.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  async #answer(method: string, path: string, body?: object): Promise<string> {
    const { status, text } = await exchange({ socketPath: this.apiSocket, method, path }, body);
    if (status >= 300) throw new Error(`${method} ${path} was answered with ${status}\n${text}`);
    return text;
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
