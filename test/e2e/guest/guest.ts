/**
 * A real guest: Debian's cloud kernel in QEMU, with NBD disks as virtio-blk, driven by shell commands.
 *
 * QEMU always emulates in software: a nested /dev/kvm may be there and yet fail in the middle of a boot, and
 * software boots in a few seconds on every machine. The kernel's messages go to a file of their own, so that command output stays clean and a panic can be read.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon } from '../../../tools/lib/daemon.ts';
import { Console, type GuestOutcome } from './console.ts';
import { buildInitramfs, kernelImage, type Software } from './initramfs.ts';

export interface GuestOptions {
  /** An existing, empty folder for the guest's files. */
  readonly folder: string;
  /** QEMU's arguments for the disks; in the guest they are /dev/vda, /dev/vdb … in order. */
  readonly diskArguments: readonly string[];
  /** What it has besides disks, each with its part of QEMU and its part of the guest. */
  readonly equipment?: readonly Equipment[];
}

/** A device that QEMU has and the guest can use. */
export interface Equipment extends Software {
  readonly qemuArguments: readonly string[];
}

const bootMs = 90_000;

export class Guest {
  readonly #qemu: Daemon;
  readonly #console: Console;
  readonly #kernelLog: string;

  private constructor(qemu: Daemon, kernelLog: string) {
    this.#qemu = qemu;
    this.#kernelLog = kernelLog;
    this.#console = new Console(qemu.stdout, qemu.stdin);
  }

  /** Boots a guest and waits until it takes commands. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = await Guest.#start(options, []);
    await guest.#withLogs(() => guest.#console.ready(bootMs));
    return guest;
  }

  /** The place for a guest that comes from another QEMU; it takes commands when it is here. @param from where QEMU waits for it, as `unix:PATH` */
  static incoming(options: GuestOptions, from: string): Promise<Guest> {
    return Guest.#start(options, ['-incoming', from]);
  }

  static async #start(options: GuestOptions, origin: readonly string[]): Promise<Guest> {
    const { folder, diskArguments, equipment = [] } = options;
    const initramfs = await buildInitramfs(folder, {
      drivers: equipment.flatMap(({ drivers }) => drivers),
      programs: equipment.flatMap(({ programs }) => programs),
    });
    const kernelLog = join(folder, 'kernel.log');
    const qemu = new Daemon('qemu-system-x86_64', [
      ...['-machine', 'q35,accel=tcg', '-m', '512', '-smp', '1'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-kernel', kernelImage, '-initrd', initramfs],
      // On a busy host the emulated timer may be late, which the kernel's own check takes for a broken board.
      ...['-append', 'console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check'],
      ...['-serial', `file:${kernelLog}`, '-serial', 'stdio'],
      ...diskArguments,
      ...equipment.flatMap(({ qemuArguments }) => qemuArguments),
      ...origin,
    ]);
    return new Guest(qemu, kernelLog);
  }

  /** Runs a shell command (one line) in the guest, whatever its status. */
  outcome(command: string, timeoutMs = 60_000): Promise<GuestOutcome> {
    return this.#withLogs(() => this.#console.outcome(command, timeoutMs));
  }

  /** Runs a shell command (one line) that must succeed. @returns its output, both streams */
  async run(command: string, timeoutMs = 60_000): Promise<string> {
    const { status, output } = await this.outcome(command, timeoutMs);
    if (status !== 0) throw new Error(`guest: ${command} ended with ${status}\n${output}`);
    return output;
  }

  /** The guest kernel's messages about its disks that mean a request failed. */
  async ioErrors(): Promise<string> {
    const pattern =
      'I/O error|EXT4-fs error|EXT4-fs warning|Buffer I/O|Aborting journal|Remounting';
    return (await this.outcome(`dmesg | grep -E '${pattern}'`)).output;
  }

  /** Switches the guest off as an operating system does at its end, and waits for QEMU. */
  async powerOff(): Promise<void> {
    await this.run('sync');
    // The answer races with the end of the machine: only the end counts.
    this.#console.outcome('poweroff -f', bootMs).catch(() => {});
    await this.#qemu.exited;
  }

  /** Ends QEMU at once if it runs: to the guest, a loss of power. */
  async kill(): Promise<void> {
    await this.#qemu.end('SIGKILL');
  }

  async #withLogs<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (cause) {
      const logs = `qemu: ${this.#qemu.log}\nkernel: ${readFileSync(this.#kernelLog, 'utf8')}`;
      throw new Error(`${(cause as Error).message}\n${logs}`, { cause });
    }
  }
}
