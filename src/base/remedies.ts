/**
 * What to do about an error whose thrower knows nothing better: one sentence or command per code.
 *
 * Guarantee: an operator who reads an error also reads a way on. A thrower that knows the names involved gives its
 * own actions, and those replace these.
 */
import type { ErrorCode } from './errors.ts';

export const remedies: Readonly<Partial<Record<ErrorCode, string>>> = {
  'request/invalid': 'correct it; --help behind a command explains what it takes',
  'request/precondition': 'read it again, then repeat',
  'request/too-large': 'send less at a time',
  'pool/exists': 'varve pool list, then choose another name',
  'pool/not-empty': 'remove its exports and volumes first',
  'pool/full': 'varve disk add POOL DISK-URI, or trim or delete volumes',
  'pool/held': 'stop whatever holds it; --takeover if that host is dead',
  'pool/damaged': 'varve pool check --offline DISK-URI... lists what is damaged',
  'pool/format': 'use the version of varve that made it',
  'pool/failed': 'mend the disk, then restart the service',
  'disk/not-found': 'varve disk list',
  'disk/unusable': 'name another file or block device, or make this one writable',
  'disk/in-use': 'name another disk; varve disk list shows whose it is',
  'disk/too-small': 'name a larger disk, or give back the size it had',
  'disk/not-empty': 'varve disk drain DISK, then repeat',
  'disk/needed': 'varve disk add POOL DISK-URI, then repeat',
  'disk/io': "look at the host's log and the space left below the disk, then repeat",
  'data/damaged': 'varve pool scrub POOL lists where; overwrite it, or delete what shows it',
  'volume/not-found': 'varve volume list',
  'volume/exists': 'choose another name',
  'volume/busy': 'wait for what holds it, then repeat',
  'volume/shrink': 'copy what is needed to a new, smaller volume',
  'volume/has-snapshots': 'varve volume delete NAME --with-snapshots',
  'volume/has-clones': 'varve volume flatten CLONE, or --keep-clones',
  'snapshot/not-found': 'varve snapshot list VOLUME',
  'snapshot/exists': 'choose another name',
  'snapshot/busy': 'remove its export first',
  'snapshot/limit': 'delete snapshots that are not needed any more',
  'snapshot/quiesce':
    "look at the guest's agent; without --quiesce the snapshot is crash-consistent",
  'schedule/not-found': 'varve snapshot schedule list',
  'export/passthrough': 'varve volume adopt DISK-URI NAME makes a volume of it',
  'guest/monitor':
    'name the socket of the guest (qemu -qmp unix:SOCKET,server=on,wait=off) that nobody else, libvirt say, holds',
  'guest/refused': "look at QEMU's message, then repeat",
  'guest/busy': 'unmount it in the guest, then repeat',
  'image/unusable':
    'qemu-img info IMAGE tells what it is; qemu-img convert makes another one of it',
  'image/exists': 'choose another name, or repeat with --force',
  'image/io': "look at the host's log and the space left beside the image, then repeat",
  'image/tool': 'apt install qemu-utils',
  'backup/exists': 'choose another name, or repeat with --force',
  'backup/format':
    'name a file that varve backup send made; a later version of varve reads later ones',
  'backup/cut': 'receive the same stream again: what has come is kept, and is not written twice',
  'backup/damaged': 'receive a good copy of the same stream: what was verified is kept',
  'backup/base': 'receive the streams before it first, or a full one under a new name',
  'backup/changed':
    'varve volume revert VOLUME@BASE keeps what it is now as a snapshot; then repeat',
  'backup/io': "look at the host's log and the space left beside the file, then repeat",
  'op/state': 'varve op show ID tells how it ended',
  'op/timeout': 'varve op wait ID waits again',
  'service/config': 'correct what the message names',
};
