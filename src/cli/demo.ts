/**
 * The tour: a service of its own in a temporary folder, real I/O, a kill -9, and the proof that nothing was lost.
 *
 * Prints each command it runs, so that it can be repeated by hand. Leaves nothing behind unless told to.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { GiB, MiB } from '../base/units.ts';
import type { Context } from './context.ts';
import { type DemoDisk, demoDisk, type Pattern } from './demo-disk.ts';
import { DemoService } from './demo-service.ts';
import { CommandError, exitFailed, toCommandError } from './errors.ts';
import { shellLine } from './shell.ts';

const run = promisify(execFile);
const main = resolve(import.meta.dirname, `main${import.meta.filename.slice(-3)}`);

/** Far apart, so that only a thin volume can hold them in this pool. */
const patterns: readonly Pattern[] = [
  { byte: 0x5a, offset: 0, length: 4 * MiB },
  { byte: 0xa5, offset: 9 * GiB, length: 4 * MiB },
];

/** @throws CommandError a step failed; the verdict says which */
export async function demo(context: Context, keep: boolean): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'varve-demo-'));
  const service = new DemoService(main, join(folder, 'state'));
  try {
    await new Tour(context, folder, service).walk();
    context.write('\nverdict: every flushed byte survived the kill; the pool is sound\n');
  } catch (error) {
    throw failedStep(error);
  } finally {
    await service.stop();
    if (keep) context.write(`kept: ${folder}\n`);
    else await rm(folder, { recursive: true, force: true });
  }
}

class Tour {
  readonly #context: Context;
  readonly #folder: string;
  readonly #service: DemoService;

  constructor(context: Context, folder: string, service: DemoService) {
    this.#context = context;
    this.#folder = folder;
    this.#service = service;
  }

  async walk(): Promise<void> {
    this.#title('A service of its own');
    await this.#start();
    await this.#makeVolume();
    const uri = (await this.#varve('export', 'uri', 'disk1')).trim();
    const disk = await demoDisk(uri, join(this.#folder, 'state', 'nbd.sock'), 'disk1');

    this.#title('A guest writes and flushes');
    await this.#each((pattern) => disk.write(pattern));
    await this.#varve('volume', 'list');

    this.#title('The service is killed and started again');
    await this.#service.kill9();
    this.#command('kill -9 (the service)');
    await this.#start();
    await this.#proveNothingLost(disk);
  }

  async #makeVolume(): Promise<void> {
    this.#title('A pool on two sparse files, a volume larger than it needs to be, its export');
    const disks = [0, 1].map((at) => join(this.#folder, `disk${at}.img?size=1GiB`));
    await this.#varve('pool', 'create', 'demo', ...disks);
    await this.#varve('volume', 'create', 'disk1', '--size', '10GiB');
    await this.#varve('export', 'add', 'disk1');
  }

  async #proveNothingLost(disk: DemoDisk): Promise<void> {
    this.#title('Everything is there');
    await this.#each((pattern) => disk.verify(pattern));
    await this.#varve('pool', 'check', 'demo');
    await this.#varve('status');
  }

  async #start(): Promise<void> {
    this.#command(`varve serve --state ${join(this.#folder, 'state')} &`);
    const startedMs = Date.now();
    await this.#service.start();
    this.#context.write(`ready after ${Date.now() - startedMs} ms\n`);
  }

  async #each(work: (pattern: Pattern) => Promise<string>): Promise<void> {
    for (const pattern of patterns) this.#command(await work(pattern));
  }

  async #varve(...args: string[]): Promise<string> {
    this.#command(`varve ${shellLine(args)}`);
    const env = { ...process.env, VARVE_SERVER: this.#service.address };
    const { stdout, stderr } = await run(process.execPath, [main, ...args], { env });
    this.#context.write(stderr + stdout);
    return stdout;
  }

  #title(text: string): void {
    this.#context.write(`\n${text}\n`);
  }

  #command(line: string): void {
    this.#context.write(`$ ${line}\n`);
  }
}

function failedStep(error: unknown): CommandError {
  if (error instanceof CommandError) return error;
  const { message } = toCommandError(error);
  return new CommandError('service/internal', `verdict: the demo failed: ${message}`, exitFailed, [
    'varve doctor',
    'varve demo --keep, then look at its folder',
  ]);
}
