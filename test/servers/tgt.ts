/**
 * A real iSCSI target (tgtd) in user space, on a free loopback port, with LUNs on files of a temporary folder.
 *
 *   running ⇄ paused        killed → running (`restart`: same port, same LUNs)
 *
 * Nothing of it survives `close()`, nor this process.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../tools/lib/command.ts';
import { Daemon } from '../../tools/lib/daemon.ts';
import { freePort, listens } from './ports.ts';

export interface LunOptions {
  readonly sizeBytes: number;
  readonly blockBytes?: 512 | 4096;
  readonly thin?: boolean;
  readonly readOnly?: boolean;
  /** False: a LUN without a volatile cache. */
  readonly writeCache?: boolean;
}

export interface Account {
  readonly user: string;
  readonly secret: string;
}

/** tgt's caching page as it is by default, but with the cache off. */
const noWriteCache =
  'mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0';

/** tgtd counts its control sockets in 15 bits. */
const controlPortCount = 32_768;

export class Tgt {
  readonly target = 'iqn.2026-01.dev.varve.test:tgt';
  readonly #luns = new Map<number, LunOptions>();
  readonly #accounts: Account[] = [];
  #daemon: Daemon | undefined;

  private constructor(
    readonly folder: string,
    readonly port: number,
    /** Part of the LUNs' names in the world: two servers with one number show "the same" LUNs. */
    readonly targetNumber: number,
  ) {}

  static async start(options: { readonly targetNumber?: number } = {}): Promise<Tgt> {
    const folder = await mkdtemp(join(tmpdir(), 'varve-tgt-'));
    const tgt = new Tgt(folder, await freePort(), options.targetNumber ?? 1);
    await tgt.restart();
    return tgt;
  }

  get portal(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** @param portals instead of its own, proxies for instance */
  uri(lun: number, portals: readonly string[] = [this.portal], user = ''): string {
    return `iscsi://${user === '' ? '' : `${user}@`}${portals.join(',')}/${this.target}/${lun}`;
  }

  backingFile(lun: number): string {
    return join(this.folder, `lun${lun}`);
  }

  /** Adds a LUN of zeroes. @returns its number */
  async addLun(options: LunOptions): Promise<number> {
    const lun = this.#luns.size + 1;
    this.#luns.set(lun, options);
    const file = await open(this.backingFile(lun), 'w');
    await file.truncate(options.sizeBytes);
    await file.close();
    await this.#createLun(lun, options);
    return lun;
  }

  /** Gives a LUN another size; the target tells it at its next start. */
  async resizeLun(lun: number, sizeBytes: number): Promise<void> {
    const file = await open(this.backingFile(lun), 'r+');
    await file.truncate(sizeBytes);
    await file.close();
  }

  /** Demands CHAP of every login from now on. */
  async requireChap(account: Account): Promise<void> {
    this.#accounts.push(account);
    await this.#createAccount(account);
  }

  async kill(): Promise<void> {
    await this.#daemon?.end('SIGKILL');
    this.#daemon = undefined;
  }

  pause(): void {
    this.#daemon?.signal('SIGSTOP');
  }

  resume(): void {
    this.#daemon?.signal('SIGCONT');
  }

  async restart(): Promise<void> {
    await this.kill();
    const place = ['--control-port', this.#controlPort, '--iscsi', `portal=${this.portal}`];
    this.#daemon = new Daemon('tgtd', ['--foreground', ...place]).drainOutput();
    await this.#daemon.until(() => listens(this.port));
    await this.#admin('new', 'target', '--targetname', this.target);
    for (const [lun, options] of this.#luns) await this.#createLun(lun, options);
    for (const account of this.#accounts) await this.#createAccount(account);
    // Initiators are let in last: none sees a target without its LUNs.
    await this.#admin('bind', 'target', '--initiator-address', 'ALL');
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  get #controlPort(): string {
    return String(this.port % controlPortCount);
  }

  async #createLun(lun: number, options: LunOptions): Promise<void> {
    const { blockBytes = 512, thin, readOnly, writeCache = true } = options;
    const which = ['--lun', String(lun)];
    const file = ['--backing-store', this.backingFile(lun), '--blocksize', String(blockBytes)];
    await this.#admin('new', 'logicalunit', ...which, ...file);
    const update = (params: string) =>
      this.#admin('update', 'logicalunit', ...which, '--params', params);
    if (thin) await update('thin_provisioning=1');
    if (readOnly) await update('readonly=1');
    if (!writeCache) await update(noWriteCache);
  }

  async #createAccount({ user, secret }: Account): Promise<void> {
    const tool = ['--control-port', this.#controlPort, '--lld', 'iscsi', '--mode', 'account'];
    await run('tgtadm', [...tool, '--op', 'new', '--user', user, '--password', secret]);
    await this.#admin('bind', 'account', '--user', user);
  }

  #admin(operation: string, mode: string, ...more: string[]): Promise<string> {
    const tool = ['--control-port', this.#controlPort, '--lld', 'iscsi'];
    const what = ['--op', operation, '--mode', mode, '--tid', String(this.targetNumber)];
    return run('tgtadm', [...tool, ...what, ...more]);
  }
}
