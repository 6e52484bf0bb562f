/**
 * Guests from a template: an image made by a guest itself, linked clones of it, and what the start of one of them takes.
 *
 * A start is the emulated machine, its kernel (from the host), the clone's filesystem mounted, every file of it read, a program of it run, a file
 * of it changed and synced. QEMU emulates in software: seconds are comparable with each other only.
 */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { Guest } from '../../test/e2e/guest/guest.ts';
import { bytesFromDisks } from '../lib/disk-reads.ts';
import type { Service } from '../lib/service.ts';

export interface Start {
  readonly seconds: number;
  /** By the guest, of its disk. */
  readonly readBytes: number;
  /** By the service, of the backing disks. */
  readonly diskReadBytes: number;
}

const applicationMiB = 96;

/** Installs a system on the volume `golden`, which is exported, and freezes it as `golden@v1`. */
export async function makeTemplate(service: Service): Promise<void> {
  const guest = await bootFrom(service, 'golden');
  await guest.run('/sbin/mke2fs -t ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt');
  await guest.run('for part in /bin /sbin /lib* /usr /etc /modules; do cp -a $part /mnt; done');
  await guest.run(
    `dd if=/dev/urandom of=/mnt/application bs=1M count=${applicationMiB} 2>/dev/null`,
  );
  await guest.run('sync && umount /mnt');
  await guest.powerOff();
  await service.varve('export', 'remove', 'golden', '--disconnect');
  await service.varve('snapshot', 'create', 'golden@v1');
}

/** @returns seconds for all of them, exports included */
export async function makeClones(service: Service, names: readonly string[]): Promise<number> {
  const began = performance.now();
  for (const name of names) {
    await service.rest('POST', `/v1/volumes/${name}/actions/clone`, { source: 'golden@v1' });
    await service.rest('PUT', `/v1/exports/${name}`, { volume: name });
  }
  return (performance.now() - began) / 1000;
}

/** Starts a guest from a clone, lets it do its work and switches it off. @throws Error the guest met an error of its disk */
export async function startOnce(service: Service, clone: string): Promise<Start> {
  const before = bytesFromDisks(service.pid);
  const began = performance.now();
  const guest = await bootFrom(service, clone);
  try {
    await guest.run('mount -t ext4 /dev/vda /mnt && find /mnt -type f -exec cat {} + >/dev/null');
    await guest.run(`chroot /mnt /bin/busybox true && echo ${clone} > /mnt/etc/hostname && sync`);
    const seconds = (performance.now() - began) / 1000;
    const { connections } = await service.rest('GET', `/v1/exports/${clone}`);
    const readBytes = (connections as { read_bytes: number }[])[0]?.read_bytes ?? 0;
    const errors = await guest.ioErrors();
    if (errors !== '') throw new Error(errors);
    return { seconds, readBytes, diskReadBytes: bytesFromDisks(service.pid) - before };
  } finally {
    await guest.kill();
  }
}

async function bootFrom(service: Service, volume: string): Promise<Guest> {
  const attachment = await service.rest('GET', `/v1/exports/${volume}/attach`);
  const diskArguments = attachment.qemu_arguments as string[];
  return Guest.boot({ folder: mkdtempSync(join(service.folder, 'guest-')), diskArguments });
}
