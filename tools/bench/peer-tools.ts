/**
 * Whose peers: this machine's, or those of a newer Debian in a folder of its own.
 *
 *   debootstrap --variant=minbase --include=qemu-utils,nbdkit trixie FOLDER
 *
 * Programs of a folder see this machine's /dev, /proc and /tmp, mounted in a namespace that ends with the program.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import { Daemon } from '../lib/daemon.ts';

export interface PeerTools {
  /** Tells one machine's peers from another's in tables; empty for this machine's. */
  readonly suffix: string;
  start(command: string, args: readonly string[]): Daemon;
  /** The first line of what `command --version` says. */
  version(command: string): Promise<string>;
}

export const ownPeers: PeerTools = {
  suffix: '',
  start: (command, args) => new Daemon(command, args),
  version: (command) => firstLine(command, ['--version']),
};

/** @throws Error there is no Debian in that folder */
export function peersIn(folder: string): PeerTools {
  if (!existsSync(join(folder, 'usr/bin/qemu-storage-daemon'))) {
    throw new Error(`${folder}: no qemu-storage-daemon in it; tools/bench/peer-tools.ts says how`);
  }
  return {
    suffix: ' (newer)',
    start: (command, args) => new Daemon(...inside(folder, command, args)),
    version: (command) => firstLine(...inside(folder, command, ['--version'])),
  };
}

// exec all along: the daemon's process id is the server's.
const enter = `root=$1; shift
for place in /dev /proc /tmp; do mount --rbind "$place" "$root$place"; done
exec chroot "$root" "$@"`;

function inside(folder: string, command: string, args: readonly string[]): [string, string[]] {
  return ['unshare', ['-m', 'sh', '-ec', enter, 'sh', folder, command, ...args]];
}

async function firstLine(command: string, args: readonly string[]): Promise<string> {
  return (await run(command, args)).split('\n')[0] ?? '';
}
