/**
 * The test guest's whole userland: one cpio archive with busybox, ext4's tools, virtio drivers and an init
 * that runs commands from its second serial port.
 *
 * Everything comes from the host (busybox-static, e2fsprogs with its libraries) and from the unpacked
 * kernel package (`npm run setup:test`), so kernel, drivers and archive always fit each other.
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { run } from '../../../tools/lib/command.ts';

const kernelFolder = resolve(import.meta.dirname, '../../../.cache/guest-kernel');
export const kernelImage = join(kernelFolder, 'vmlinuz');

/** What a guest has, besides busybox. */
export interface Software {
  /** Names of kernel modules; what they depend on comes with them. */
  readonly drivers: readonly string[];
  /** Paths of the host's programs; their libraries come with them. */
  readonly programs: readonly string[];
}

/** Disks and ext4 on them: every guest has these. */
const basis: Software = {
  drivers: ['virtio_pci', 'virtio_blk'],
  programs: ['/sbin/mke2fs', '/sbin/e2fsck'],
};

/** Builds the archive in `folder` (an existing, empty one). @returns its path */
export async function buildInitramfs(folder: string, more: Software): Promise<string> {
  const root = join(folder, 'root');
  for (const name of ['bin', 'dev', 'proc', 'sys', 'tmp', 'mnt', 'modules', 'etc']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  cpSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const program of [...basis.programs, ...more.programs]) await copyProgram(program, root);
  const modules = moduleFiles([...basis.drivers, ...more.drivers]);
  for (const file of modules) {
    cpSync(join(kernelFolder, 'modules', file), join(root, 'modules', basename(file)));
  }
  cpSync('/etc/mke2fs.conf', join(root, 'etc/mke2fs.conf'));
  writeFileSync(join(root, 'etc/mtab'), '');
  writeFileSync(join(root, 'init'), initScript(modules.map((file) => basename(file))), {
    mode: 0o755,
  });
  const archive = join(folder, 'initramfs.cpio');
  const pack = 'cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 > "$2"';
  await run('sh', ['-c', pack, 'pack', root, archive]);
  return archive;
}

/** Copies a program and the libraries that the loader would give it, to the same paths. */
async function copyProgram(program: string, root: string): Promise<void> {
  const listing = await run('ldd', [program]);
  const libraries = [...listing.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] as string);
  for (const path of [program, ...libraries]) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    cpSync(path, join(root, path), { dereference: true });
  }
}

/** The modules' files with all they depend on, each after what it needs. */
function moduleFiles(names: readonly string[]): string[] {
  const lines = readFileSync(join(kernelFolder, 'modules/modules.dep'), 'utf8').trim().split('\n');
  const wanted = lines
    .map((line) => line.split(/:\s*|\s+/).filter((word) => word !== ''))
    .filter(([file]) => names.includes(basename(file ?? '', '.ko')));
  // depmod lists dependencies nearest first: reversed, each comes after its own.
  return [...new Set(wanted.flatMap((files) => files.reverse()))];
}

/**
 * PID 1. A line `ID COMMAND` on the second serial port is answered by the command's output (both streams)
 * and a line `@ID STATUS@`; the first line it says is `@ready 0@`.
 *
 * Not PID 1 itself reads them, but a child of it: busybox's `read` begins anew when a child of its process
 * ends, without what it had of the line, and what commands leave in the background become PID 1's children.
 */
function initScript(modules: readonly string[]): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in ${modules.join(' ')}; do insmod /modules/$module; done
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo
echo "@ready 0@"
(
  while IFS= read -r line; do
    id="\${line%% *}"
    ( eval "\${line#* }" ) </dev/null 2>&1
    echo "@$id $?@"
  done
)
`;
}
