/**
 * Errors: the caller's and the world's (StorageError, one coded list) and ours (InvariantError).
 *
 * Branch on `code`, never on message text. The list is the documentation: cause, then remedy.
 * `status` is REST's, `exit` the command's (cli.md section 1).
 */
import { remedies } from './remedies.ts';

export const errorCodes = {
  /** A parameter is malformed or out of range. Correct it. */
  'request/invalid': { status: 400, exit: 2, retry: false },
  /** The caller sent no confirmation for something that loses data. Repeat with `--yes`. */
  'request/confirmation': { status: 400, exit: 2, retry: false },
  /** If-Match does not name the present version. Read again, then repeat. */
  'request/precondition': { status: 412, exit: 4, retry: true },
  /** No such address, or not with this method. `/v1/openapi.json` lists them. */
  'request/not-found': { status: 404, exit: 2, retry: false },
  /** The request's body is larger than the service takes. */
  'request/too-large': { status: 413, exit: 2, retry: false },
  /** The Idempotency-Key was sent before with another request, or that request is still running. */
  'request/idempotency': { status: 409, exit: 4, retry: true },
  /** No such pool. `varve pool list` names them. */
  'pool/not-found': { status: 404, exit: 3, retry: false },
  /** A pool of that name exists with other parameters. Choose another name. */
  'pool/exists': { status: 409, exit: 4, retry: false },
  /** Volumes or exports are still in the pool. Remove them first. */
  'pool/not-empty': { status: 409, exit: 4, retry: false },
  /** No free cluster. Add a disk, trim, or delete volumes, then retry. */
  'pool/full': { status: 507, exit: 6, retry: true },
  /** Another process or host holds the pool. Stop it, or wait for its lease to end; `--takeover` if it is dead. */
  'pool/held': { status: 409, exit: 4, retry: true },
  /** A disk of the pool was not given. Name all of its disks. */
  'pool/disk-missing': { status: 409, exit: 4, retry: false },
  /** What is on the disks is damaged. `varve pool check` lists it. */
  'pool/damaged': { status: 500, exit: 7, retry: false },
  /** The disks carry a newer format or a feature this version does not know. Use the version that made them. */
  'pool/format': { status: 409, exit: 1, retry: false },
  /** The pool is being opened, which takes longer than usual: a disk may not answer. Wait, or bring the disk back. */
  'pool/opening': { status: 503, exit: 4, retry: true },
  /** The pool stopped after a disk error; nothing unconfirmed was said to be safe. Mend the disk, restart. */
  'pool/failed': { status: 503, exit: 1, retry: true },
  /** The pool was imported to be read. Export it, bring all of its disks, import it without `--read-only`. */
  'pool/read-only': { status: 409, exit: 4, retry: false },
  /** No such disk. `varve disk list` names them. */
  'disk/not-found': { status: 404, exit: 3, retry: false },
  /** The backing path cannot be used (directory, missing, read-only, not permitted). */
  'disk/unusable': { status: 400, exit: 1, retry: false },
  /** The disk carries a filesystem, partition table or another pool. `--force` overwrites it. */
  'disk/in-use': { status: 409, exit: 4, retry: false },
  /** The disk is smaller than the smallest that works, or than its label says. */
  'disk/too-small': { status: 400, exit: 1, retry: false },
  /** Data lies on the disk. Drain it first: `varve disk drain`. */
  'disk/not-empty': { status: 409, exit: 4, retry: false },
  /** The pool cannot do without the disk: it is the only one, or no other can carry the journal. Add a disk first. */
  'disk/needed': { status: 409, exit: 4, retry: false },
  /** The operating system reported an error for the disk. */
  'disk/io': { status: 500, exit: 1, retry: true },
  /** Stored data is not what was written: a seal does not match. Scrub lists where; overwrite it, or delete what shows it. */
  'data/damaged': { status: 500, exit: 7, retry: false },
  /** No such volume. `varve volume list` names them. */
  'volume/not-found': { status: 404, exit: 3, retry: false },
  /** A volume of that name exists with other parameters. */
  'volume/exists': { status: 409, exit: 4, retry: false },
  /** Another operation holds the volume, or it is exported. */
  'volume/busy': { status: 409, exit: 4, retry: true },
  /** Volumes do not shrink: data at the end would be lost. */
  'volume/shrink': { status: 409, exit: 4, retry: false },
  /** Snapshots of the volume would go with it. Delete them first, or `--with-snapshots`. */
  'volume/has-snapshots': { status: 409, exit: 4, retry: false },
  /** Linked clones read through it. Delete them or flatten them first, or `--keep-clones`. */
  'volume/has-clones': { status: 409, exit: 4, retry: false },
  /** No such snapshot. `varve snapshot list` names them. */
  'snapshot/not-found': { status: 404, exit: 3, retry: false },
  /** A snapshot or bookmark of that name exists, and is not what would be made now. Choose another name. */
  'snapshot/exists': { status: 409, exit: 4, retry: false },
  /** The snapshot is exported or being read. Remove the export first. */
  'snapshot/busy': { status: 409, exit: 4, retry: true },
  /** A limit that keeps the service usable is reached (docs/operations.md). Delete what is not needed. */
  'snapshot/limit': { status: 409, exit: 4, retry: false },
  /** The guest agent did not answer, or refused to freeze. Nothing was snapshotted; the guest was thawed. */
  'snapshot/quiesce': { status: 502, exit: 1, retry: true },
  /** The volume has no snapshot schedule. */
  'schedule/not-found': { status: 404, exit: 3, retry: false },
  /** No such export. `varve export list` names them. */
  'export/not-found': { status: 404, exit: 3, retry: false },
  /** An export of that name serves something else. */
  'export/exists': { status: 409, exit: 4, retry: false },
  /** The name is a whole disk's that is passed through: it has no map, so no snapshots, clones or sizes of its own. Adopt it. */
  'export/passthrough': { status: 409, exit: 4, retry: false },
  /** Clients are connected. Detach them, or repeat with `--disconnect`. */
  'export/busy': { status: 409, exit: 4, retry: true },
  /** The listening address cannot be used (taken, too long, not permitted). */
  'export/listen': { status: 409, exit: 4, retry: false },
  /** QEMU's monitor cannot be reached, or does not answer. Name the socket of its `-qmp`. */
  'guest/monitor': { status: 502, exit: 1, retry: true },
  /** QEMU refused; nothing was attached. What it says tells why. */
  'guest/refused': { status: 409, exit: 4, retry: false },
  /** The guest uses the disk and has not let go of it in time. Unmount it there, then repeat. */
  'guest/busy': { status: 409, exit: 4, retry: true },
  /** The image is of an unknown format, encrypted, damaged, or reads from other files. What it says tells which. */
  'image/unusable': { status: 400, exit: 1, retry: false },
  /** A file of that name is there. Choose another name, or `--force`. */
  'image/exists': { status: 409, exit: 4, retry: false },
  /** Reading or writing the image failed, or the copy is not equal. Nothing was made. */
  'image/io': { status: 500, exit: 1, retry: true },
  /** qemu-img is not there. Install it. */
  'image/tool': { status: 503, exit: 1, retry: true },
  /** A file of that name is there, and is not this backup. Choose another name, or `--force`. */
  'backup/exists': { status: 409, exit: 4, retry: false },
  /** The file is no backup stream, or one of a later version. */
  'backup/format': { status: 400, exit: 1, retry: false },
  /** The stream ended before its end. Receive it again: what has come is kept. */
  'backup/cut': { status: 400, exit: 7, retry: true },
  /** The stream is not what was sent: changed, repeated, out of order, or mixed with another. Receive a good copy: what was verified is kept. */
  'backup/damaged': { status: 400, exit: 7, retry: false },
  /** The stream goes on top of a snapshot that the volume does not have. Receive what comes before it, or a full one under a new name. */
  'backup/base': { status: 409, exit: 4, retry: false },
  /** The volume was written since the snapshot that the stream goes on top of. Revert it to that, which keeps today's state as a snapshot. */
  'backup/changed': { status: 409, exit: 4, retry: false },
  /** Reading or writing the backup file failed. */
  'backup/io': { status: 500, exit: 1, retry: true },
  /** No such operation. */
  'op/not-found': { status: 404, exit: 3, retry: false },
  /** The operation has ended or cannot be stopped at this point. */
  'op/state': { status: 409, exit: 4, retry: false },
  /** The time to wait is over; the operation goes on. `varve op wait` waits again. */
  'op/timeout': { status: 504, exit: 21, retry: true },
  /** No service answers at the address. Start it, or name another with `--server`. */
  'service/unreachable': { status: 503, exit: 20, retry: true },
  /** The configuration file or the state folder cannot be used. Correct what the message names. */
  'service/config': { status: 400, exit: 1, retry: false },
  /** Another service holds the state folder. Stop it first. */
  'service/state-held': { status: 409, exit: 4, retry: true },
  /** The state folder was written by another version. */
  'service/state-version': { status: 409, exit: 1, retry: false },
  /** The service is stopping. */
  'service/stopping': { status: 503, exit: 20, retry: true },
  /** The caller may not do this. */
  'service/not-permitted': { status: 403, exit: 5, retry: false },
  /** A bug in varve. Please report it with the log. */
  'service/internal': { status: 500, exit: 1, retry: false },
} as const;

export type ErrorCode = keyof typeof errorCodes;

export interface StorageErrorOptions extends ErrorOptions {
  /** What to do about it: commands or sentences, most useful first. */
  readonly actions?: readonly string[];
}

function remediesFor(code: ErrorCode): readonly string[] {
  const remedy = remedies[code];
  return remedy === undefined ? [] : [remedy];
}

export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly actions: readonly string[];

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: StorageErrorOptions = {},
  ) {
    super(message, options);
    this.actions = options.actions ?? remediesFor(code);
  }
}

/** A disk did not do what it was asked, for now or for good. */
export function isDiskIo(error: unknown): error is StorageError {
  return error instanceof StorageError && error.code === 'disk/io';
}

/** A bug in this program. No request may cause one; nothing recovers from it. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** What was thrown, in words. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
