/**
 * A real libvirt with one real guest, both in a folder of their own.
 *
 * libvirt runs its sessions without privileges only, so it and its QEMU are somebody's who owns nothing else: what they are to reach must be opened for them.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../tools/lib/command.ts';
import { Daemon } from '../../tools/lib/daemon.ts';
import { Console } from './guest/console.ts';
import { buildInitramfs, kernelImage } from './guest/initramfs.ts';

/** nobody, nogroup. */
const somebody = 65534;
const bootMs = 120_000;

export class LibvirtHost {
  readonly #folder: string;
  #daemon: Daemon | undefined;
  #console: Console | undefined;

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'varve-libvirt-'));
  }

  /** Starts libvirt and boots the domain `guest`. */
  static async start(): Promise<LibvirtHost> {
    const host = new LibvirtHost();
    await host.#startDaemon();
    await host.#boot();
    return host;
  }

  /** What `--connect` takes. */
  get uri(): string {
    return `qemu+unix:///session?socket=${this.#path('run/libvirt-sock')}`;
  }

  virsh(...args: string[]): Promise<string> {
    return run('virsh', ['--connect', this.uri, '--quiet', ...args]);
  }

  /** Runs a shell command (one line) in the guest. @returns its output @throws Error it fails */
  async run(command: string): Promise<string> {
    const answer = await this.#console?.outcome(command, bootMs);
    if (answer?.status === 0) return answer.output;
    throw new Error(`guest: ${command} ended with ${answer?.status}\n${answer?.output}`);
  }

  async dispose(): Promise<void> {
    await this.virsh('destroy', 'guest').catch(() => {});
    await this.#daemon?.end('SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  async #startDaemon(): Promise<void> {
    const folders = ['run', 'config', 'data', 'cache'].map((name) => this.#path(name));
    for (const folder of folders) {
      mkdirSync(folder);
      chownSync(folder, somebody, somebody);
    }
    chmodSync(this.#folder, 0o755);
    const [runtime = '', config = '', data = '', cache = ''] = folders;
    writeFileSync(
      this.#path('libvirtd.conf'),
      `unix_sock_dir = "${runtime}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n`,
    );
    const xdg = { XDG_RUNTIME_DIR: runtime, XDG_CONFIG_HOME: config, XDG_DATA_HOME: data };
    const env = { ...process.env, ...xdg, XDG_CACHE_HOME: cache, HOME: data };
    const asSomebody = ['--reuid', `${somebody}`, '--regid', `${somebody}`, '--clear-groups'];
    const libvirtd = ['libvirtd', '-f', this.#path('libvirtd.conf'), '-p', join(runtime, 'pid')];
    this.#daemon = new Daemon('setpriv', [...asSomebody, ...libvirtd], { env }).drainOutput();
    await this.#daemon.until(async () => {
      if (!existsSync(this.#path('run/libvirt-sock'))) return false;
      return this.virsh('list').then(
        () => true,
        () => false,
      );
    });
  }

  async #boot(): Promise<void> {
    const built = this.#path('built');
    mkdirSync(built);
    copyFileSync(await buildInitramfs(built, { drivers: [], programs: [] }), this.#path('initrd'));
    copyFileSync(kernelImage, this.#path('kernel'));
    writeFileSync(this.#path('guest.xml'), this.#domain);
    await this.virsh('create', this.#path('guest.xml'));
    const socket = connect(this.#path('run/console'));
    this.#console = new Console(socket, socket);
    await this.#console.ready(bootMs);
  }

  get #domain(): string {
    return `<domain type='qemu'>
  <name>guest</name>
  <memory unit='MiB'>512</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>${this.#path('kernel')}</kernel>
    <initrd>${this.#path('initrd')}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='pci' model='pcie-root'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='${this.#path('run/kernel.log')}'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='${this.#path('run/console')}'/><target port='1'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
`;
  }
}
