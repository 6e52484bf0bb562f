/**
 * The service as installed: the unit file that we ship, run by systemd (systemd.ts) from /opt/varve.
 *
 *   FOLDER/lib/varve            the service's /var/lib/varve
 *   FOLDER/run/varve            its /run/varve
 *   FOLDER/opt/varve            its /opt/varve, what is installed: a link to this checkout, or to another version beside it
 *   FOLDER/log                  what it says
 *
 * Needs the build (`npm run build`), root and cgroup2. Nothing survives `dispose()`.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ServiceAccess } from '../service-access.ts';
import { Systemd } from './systemd.ts';

const checkout = resolve(import.meta.dirname, '../../..');
const unit = 'varve.service';
/** Of a version beside this one; what it depends on is this one's. */
const ofVersion = ['package.json', 'dist', 'build/Release/varve.node', 'tools/varve'];
const folders = new Set<string>();
// As in service.ts.
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export class UnitService extends ServiceAccess {
  #systemd: Systemd | undefined;

  private constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'varve-'));
    const [state, run] = [join(folder, 'lib/varve'), join(folder, 'run/varve')];
    super({ folder, state, apiSocket: join(run, 'varve.sock') });
    folders.add(folder);
  }

  /** Boots systemd and has it start the service, with nothing in its state folder. */
  static async start(): Promise<UnitService> {
    const service = new UnitService();
    try {
      await service.#start();
      return service;
    } catch (error) {
      await service.dispose();
      throw error;
    }
  }

  /** `systemctl VERB varve`, to its end. @throws Error with the service's log: it failed */
  async systemctl(verb: string, ...options: string[]): Promise<void> {
    try {
      await this.systemd.systemctl(verb, ...options, unit);
    } catch (cause) {
      throw new Error(`${(cause as Error).message}\n${this.log}`, { cause });
    }
  }

  /** A property that systemd has of the unit, e.g. MainPID: as seen from in there. */
  property(name: string): Promise<string> {
    return this.systemd.systemctl('show', '--property', name, '--value', unit);
  }

  get systemd(): Systemd {
    if (this.#systemd === undefined) throw new Error('systemd is not started');
    return this.#systemd;
  }

  get log(): string {
    return readFileSync(this.#logPath, 'utf8');
  }

  /** What this checkout is, under another version's name, lies beside it from now on. @returns its folder, for `install` */
  newVersion(version: string): string {
    const folder = this.#opt(version);
    for (const name of ofVersion) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      cpSync(join(checkout, name), join(folder, name), { recursive: true });
    }
    symlinkSync('/opt/installed/node_modules', join(folder, 'node_modules'));
    const packageFile = join(folder, 'package.json');
    const described = JSON.parse(readFileSync(packageFile, 'utf8')) as object;
    writeFileSync(packageFile, JSON.stringify({ ...described, version }));
    return folder;
  }

  /** The next start is that version's; `installed` is this checkout. */
  install(version: string): void {
    const draft = this.#opt('varve.new');
    symlinkSync(version, draft);
    renameSync(draft, this.#opt('varve'));
  }

  /** Ends everything and removes the folder. */
  async dispose(): Promise<void> {
    await this.#systemd?.end();
    rmSync(this.folder, { recursive: true, force: true });
    folders.delete(this.folder);
  }

  async #start(): Promise<void> {
    mkdirSync(this.#opt(''), { recursive: true });
    this.install('installed');
    this.#systemd = await Systemd.start(this.folder, {
      [unit]: readFileSync(join(checkout, 'tools/systemd', unit), 'utf8'),
      // Only what it says, to where it can be read, and the Node that runs this, which may be none of the system's.
      [`${unit}.d/here.conf`]: [
        '[Service]',
        `StandardError=append:${this.#logPath}`,
        `Environment=PATH=${dirname(process.execPath)}:/usr/bin:/bin`,
      ].join('\n'),
    });
    await this.systemctl('start');
  }

  get #logPath(): string {
    return join(this.folder, 'log');
  }

  #opt(name: string): string {
    return join(this.folder, 'opt', name);
  }
}
