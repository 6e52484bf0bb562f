/**
 * A real NFS server (nfs-ganesha) on free ports of the loopback, serving a temporary folder, versions 3 and 4.
 *
 * It needs root and rpcbind, which is started when there is none (rpcbind.ts). `kill` is SIGKILL: what the server had only in its memory
 * is gone. `close` removes everything else.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { freePort, listens } from './ports.ts';
import { ensureRpcbind } from './rpcbind.ts';

const startPatienceMs = 60_000;

export class Ganesha {
  #process: ChildProcess | undefined;

  private constructor(
    readonly folder: string,
    readonly nfsPort: number,
    readonly mountPort: number,
    readonly squash: string,
  ) {}

  /** @param options.squash ganesha's: `No_Root_Squash`, or `Root_Squash` to see what a client without rights sees */
  static async open({ squash = 'No_Root_Squash' } = {}): Promise<Ganesha> {
    const folder = await mkdtemp(join(tmpdir(), 'varve-ganesha-'));
    const server = new Ganesha(folder, await freePort(), await freePort(), squash);
    await mkdir(server.exportPath);
    await mkdir(join(folder, 'recovery'));
    await writeFile(join(folder, 'ganesha.conf'), server.#config());
    await server.start();
    return server;
  }

  /** The exported folder, on this host and on the server alike. */
  get exportPath(): string {
    return join(this.folder, 'export');
  }

  /**
   * `nfs://…` of a name in the export; `query` as in `size=1GiB&version=4`.
   *
   * @param at instead of its own ports, those of proxies for instance
   */
  uri(
    name: string,
    query = '',
    at: { readonly nfsPort: number; readonly mountPort: number } = this,
  ): string {
    const ports = `nfsport=${at.nfsPort}&mountport=${at.mountPort}`;
    const path = name === '' ? this.exportPath : join(this.exportPath, name);
    return `nfs://127.0.0.1${path}?${query === '' ? '' : `${query}&`}${ports}`;
  }

  /** On the same ports as before; resolves when it answers. */
  async start(): Promise<void> {
    // Ganesha registers version 3 with it, and refuses to run otherwise.
    await ensureRpcbind();
    const options = ['-F', '-f', 'ganesha.conf', '-L', join(this.folder, 'log'), '-p', 'pid'];
    this.#process = spawn('ganesha.nfsd', options, { cwd: this.folder, stdio: 'ignore' });
    const failed = once(this.#process, 'error').then(([error]) => {
      throw new Error(`apt-get install nfs-ganesha nfs-ganesha-vfs: ${error}`);
    });
    failed.catch(() => undefined);
    await Promise.race([this.#answers(), failed]);
  }

  async kill(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    const gone = once(process, 'exit');
    process.kill('SIGKILL');
    await gone;
  }

  /** Nothing is answered until `resume`. */
  pause(): void {
    this.#process?.kill('SIGSTOP');
  }

  resume(): void {
    this.#process?.kill('SIGCONT');
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #answers(): Promise<void> {
    const giveUpAt = performance.now() + startPatienceMs;
    while (!((await listens(this.nfsPort)) && (await listens(this.mountPort)))) {
      if (performance.now() > giveUpAt || this.#process?.exitCode !== null) {
        const log = await readFile(join(this.folder, 'log'), 'utf8').catch(() => 'no log');
        throw new Error(`nfs-ganesha does not answer (it needs root): ${log.slice(-2000)}`);
      }
      await setTimeout(20);
    }
  }

  #config(): string {
    const { folder, exportPath, nfsPort, mountPort, squash } = this;
    return `
NFS_CORE_PARAM { NFS_Protocols = 3,4; NFS_Port = ${nfsPort}; MNT_Port = ${mountPort}; Bind_addr = 127.0.0.1;
  Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
NFSV4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = "${folder}/recovery"; }
EXPORT { Export_Id = 1; Path = ${exportPath}; Pseudo = ${exportPath}; Access_Type = RW; Squash = ${squash};
  SecType = sys; Protocols = 3,4; Transports = TCP; FSAL { Name = VFS; } }
LOG { Default_Log_Level = WARN; Facility { name = FILE; destination = "${folder}/log"; enable = active; } }
`;
  }
}
