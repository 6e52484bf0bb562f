/**
 * The test guest's kernel: Debian's cloud kernel, unpacked into .cache/guest-kernel, never installed.
 *
 *   .cache/guest-kernel/vmlinuz, modules/   (modules = the package's lib/modules/VERSION with modules.dep)
 *
 * Installing it would touch the host's /boot and boot loader; the tests need two paths only.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { output, run, SetupError, say } from './report.mjs';

const folder = '.cache/guest-kernel';

export function fetchGuestKernel() {
  if (existsSync(join(folder, 'vmlinuz'))) return;
  const packageName = newestKernelPackage();
  say(`unpacking a kernel for test guests: ${packageName}`);
  mkdirSync('.cache', { recursive: true });
  const work = mkdtempSync(resolve('.cache', 'guest-kernel-'));
  try {
    // As root apt would warn that its sandbox user cannot write into our folder.
    run('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', 'download', packageName], {
      cwd: work,
    });
    const archive = readdirSync(work).find((name) => name.endsWith('.deb'));
    run('dpkg', ['-x', archive, 'tree'], { cwd: work });
    arrange(work);
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(work, 'ready'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function newestKernelPackage() {
  const depends = output('apt-cache', ['depends', 'linux-image-cloud-amd64']) ?? '';
  const match = /Depends: (linux-image-\S+)/.exec(depends);
  if (match) return match[1];
  throw new SetupError('no Debian package linux-image-cloud-amd64 known.\n  try: apt-get update');
}

function arrange(work) {
  const [version] = readdirSync(join(work, 'tree/lib/modules'));
  run('depmod', ['-b', join(work, 'tree'), version]);
  mkdirSync(join(work, 'ready'));
  renameSync(join(work, `tree/boot/vmlinuz-${version}`), join(work, 'ready/vmlinuz'));
  renameSync(join(work, `tree/lib/modules/${version}`), join(work, 'ready/modules'));
}
