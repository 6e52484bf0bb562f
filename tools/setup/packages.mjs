/**
 * Debian packages: what running and testing need, and how the missing ones get installed.
 *
 * Asks dpkg first, so a complete machine needs neither root nor a network.
 */
import { output, run, SetupError, say } from './report.mjs';

/** To build the addon and run the service. */
export const runtimePackages = [
  'g++',
  'make',
  'python3',
  'liburing-dev',
  'libxxhash-dev',
  // Headers; the libraries themselves are loaded when a disk first needs them.
  'libnfs-dev',
];

/** What the tests and the benchmark use on top: other people's clients, servers, a guest's userland. */
export const testPackages = [
  'libgtest-dev',
  'qemu-system-x86',
  'qemu-utils',
  'qemu-block-extra',
  'qemu-guest-agent',
  'libvirt-daemon',
  'libvirt-daemon-driver-qemu',
  'libvirt-clients',
  'libnbd-bin',
  'python3-libnbd',
  'nbdkit',
  'nfs-ganesha',
  'nfs-ganesha-vfs',
  'rpcbind',
  'nbd-client',
  'nbd-server',
  'fio',
  'jq',
  'e2fsprogs',
  'xfsprogs',
  'btrfs-progs',
  'busybox-static',
  'cpio',
  'kmod',
  'systemd',
  'xz-utils',
  'tgt',
  'libiscsi7',
  'libiscsi-dev',
  'clang-14',
  'libclang-rt-14-dev',
];

/** The given packages that dpkg does not list as installed; undefined on a machine without dpkg. */
export function missingPackages(names) {
  if (output('dpkg-query', ['--version']) === undefined) return undefined;
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's placeholders, not JavaScript's.
  const format = '${db:Status-Abbrev} ${Package}\n';
  const listing = output('dpkg-query', ['-W', '-f', format]) ?? '';
  const installed = new Set(
    listing
      .split('\n')
      .filter((line) => line.startsWith('ii'))
      .map((line) => line.slice(2).trim()),
  );
  return names.filter((name) => !installed.has(name));
}

/**
 * Installs what is missing of `names`.
 *
 * @throws SetupError something is missing and this user may not install it
 */
export function installPackages(names) {
  const missing = missingPackages(names);
  if (missing === undefined) {
    say(`no dpkg here: make sure that these exist: ${names.join(' ')}`);
    return;
  }
  if (missing.length === 0) return;
  const install = aptGet(['install', '-y', '--no-install-recommends', ...missing]);
  if (install === undefined) {
    throw new SetupError(
      `missing Debian packages, and no right to install them.\n  try: sudo apt-get install ${missing.join(' ')}`,
    );
  }
  say(`installing Debian packages: ${missing.join(' ')}`);
  // A fresh machine has no package lists; a stale one names versions that are gone.
  const update = aptGet(['update', '-q']);
  run(update.command, update.args, aptOptions);
  run(install.command, install.args, aptOptions);
}

const aptOptions = { env: { DEBIAN_FRONTEND: 'noninteractive' } };

function aptGet(args) {
  const quiet = ['-qq', ...args];
  if (process.getuid() === 0) return { command: 'apt-get', args: quiet };
  // -n: never ask for a password; set-up asks no questions.
  if (output('sudo', ['-n', 'true']) === undefined) return undefined;
  return { command: 'sudo', args: ['-n', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...quiet] };
}
