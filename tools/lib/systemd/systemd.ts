/**
 * systemd itself, the host's program, as the first process of namespaces of its own: units run, and are restarted, as on a host that systemd
 * started. Needs root and cgroup2.
 *
 * Guarantees: it knows the units it is given and no others, and changes nothing outside of its folder (boot.sh). Nothing survives `end()`.
 */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Outcome, outcomeOf, run } from '../command.ts';
import { Daemon } from '../daemon.ts';
import { until } from '../until.ts';

const boot = resolve(import.meta.dirname, 'boot.sh');
const checkout = resolve(import.meta.dirname, '../../..');
/** What units without anything special refer to, or wait for. */
const targets = ['default', 'sysinit', 'basic', 'multi-user', 'network', 'local-fs', 'shutdown'];

export class Systemd {
  readonly #daemon: Daemon;
  readonly #group: string;

  private constructor(daemon: Daemon, group: string) {
    this.#daemon = daemon;
    this.#group = group;
  }

  /**
   * Boots.
   *
   * @param folder an existing one: `lib`, `run` and `opt` in it are its /var/lib, /run and /opt
   * @param units by their path below the folder of units
   */
  static async start(folder: string, units: Readonly<Record<string, string>>): Promise<Systemd> {
    for (const name of ['lib', 'run', 'opt/installed', 'units', 'none']) {
      mkdirSync(join(folder, name), { recursive: true });
    }
    const bare = Object.fromEntries(targets.map((name) => [`${name}.target`, target]));
    const all: Record<string, string> = { ...bare, ...units };
    for (const [name, text] of Object.entries(all)) {
      mkdirSync(resolve(folder, 'units', name, '..'), { recursive: true });
      writeFileSync(join(folder, 'units', name), text);
    }
    const group = newGroup();
    const daemon = new Daemon(boot, [folder, group, checkout]).drainOutput();
    const systemd = new Systemd(daemon, group);
    try {
      await daemon.until(() => systemd.#isUp());
    } catch (error) {
      await systemd.end();
      throw error;
    }
    return systemd;
  }

  /** `systemctl` in there, which must succeed. @returns what it says */
  async systemctl(...args: string[]): Promise<string> {
    return (await run('nsenter', this.#inside('systemctl', args))).trim();
  }

  /** A program in there, whatever its status. */
  outcome(program: string, args: readonly string[]): Promise<Outcome> {
    return outcomeOf('nsenter', this.#inside(program, args));
  }

  /** Kills it with all that it runs. */
  async end(): Promise<void> {
    await this.#daemon.end('SIGKILL');
    const path = this.#group;
    await until(() => isEmpty(path), { what: `control group ${path} is empty` });
    removeGroups(path);
  }

  async #isUp(): Promise<boolean> {
    if (this.#firstProcess === undefined) return false;
    const { stdout } = await this.outcome('systemctl', ['is-system-running']);
    return stdout.trim() === 'running';
  }

  #inside(program: string, args: readonly string[]): string[] {
    const target = ['-t', this.#firstProcess ?? '', '-m', '-p', '-C', '-u'];
    return [...target, program, ...args];
  }

  /** The only child of unshare. */
  get #firstProcess(): string | undefined {
    const { pid } = this.#daemon;
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    return child === '' ? undefined : child;
  }
}

const target = '[Unit]\nDefaultDependencies=no\n';
let groups = 0;

/** Below this process's own, so that whoever limits that limits this as well. */
function newGroup(): string {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
  const hierarchy = mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2');
  if (hierarchy === undefined) throw new Error('no cgroup2 hierarchy is mounted here');
  const [, own = '/'] = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8')) ?? [];
  const path = join(hierarchy[1] ?? '', own, `varve-${process.pid}-${groups++}`);
  mkdirSync(path);
  return path;
}

function isEmpty(group: string): boolean {
  return /^populated 0$/m.test(readFileSync(join(group, 'cgroup.events'), 'utf8'));
}

/** A group goes when those below it have gone; its files are the kernel's. */
function removeGroups(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroups(join(path, entry.name));
  }
  rmdirSync(path);
}
