/**
 * Foreign disks: disks and images that were adopted as they are. A pool's maps point into them, and varve never writes to them.
 *
 * No label, no journal, nothing to allocate; numbered from the top of what a slot can name, away from the pool's own disks. What a
 * disk was when it was adopted (size, time of the last change, a hash of both ends) is on record; one that is not that any more is not read:
 * whoever reads there gets an error, never other bytes. docs/adr/0005.
 */
import { messageOf, StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import { KiB } from '../base/units.ts';
import type { DiskPlane, PatientDiskPlane } from '../dataplane/data-plane.ts';
import { type DiskLocation, openPatientDiskPlane } from './disk-set.ts';
import { xxh64Stream } from './format/hash.ts';
import { type ImageDiskOpener, modifiedNsOf, openImageDisk, openImageLater } from './image-disk.ts';

/** `R disk/<number>` of a foreign disk. */
export interface ForeignDiskRecord {
  readonly number: number;
  readonly uuid: string;
  readonly uri: string;
  readonly foreign: ForeignIdentity & {
    readonly path: string;
    readonly kind: DiskLocation['kind'];
    /** The last one may lie partly behind the end; no slot claims what does. */
    readonly clusterCount: number;
  };
}

/** What tells that a disk is still what it was. */
export interface ForeignIdentity {
  readonly sizeBytes: number;
  /** Of a file: nanoseconds since the epoch, as text; null of a device, which has none that means its content, and of a URL. */
  readonly modifiedNs: string | null;
  /** XXH64 of the first and the last bytes, in hexadecimal. */
  readonly endsHash: string;
}

export interface OpenForeignDisk {
  readonly record: ForeignDiskRecord;
  readonly plane: PatientDiskPlane;
  /** Why it cannot be read, if it cannot. Of an image that may change by itself. */
  readonly problem: string | null;
  /** `plane` stands for a disk that cannot be had before the pool is opened again: it answers with errors, and is not waited for. */
  readonly isAbsent?: true;
}

const endBytes = 64 * KiB;
const readingsMax = 4;

/** @param record of a disk */
export function isForeign(record: unknown): record is ForeignDiskRecord {
  return typeof (record as Partial<ForeignDiskRecord> | null | undefined)?.foreign === 'object';
}

export function locationOfForeign({ uri, foreign }: ForeignDiskRecord): DiskLocation {
  return { uri, path: foreign.path, kind: foreign.kind };
}

/** What the open disk is now. */
export async function identify(
  plane: DiskPlane,
  { path, kind }: Pick<DiskLocation, 'path' | 'kind'>,
): Promise<ForeignIdentity> {
  return {
    sizeBytes: plane.sizeBytes,
    modifiedNs: kind === 'file' || kind === 'image' ? await modifiedNsOf(path) : null,
    endsHash: await endsHashOf(plane),
  };
}

/** What two readings have in common: what a disk or a cable got wrong once is not what the disk is. @throws StorageError disk/io */
async function endsHashOf(plane: DiskPlane): Promise<string> {
  const seen = new Set<string>();
  for (let reading = 0; reading < readingsMax; reading++) {
    const hash = await readEnds(plane);
    if (seen.has(hash)) return hash;
    seen.add(hash);
  }
  throw new StorageError('disk/io', 'what is read of the disk is another each time');
}

async function readEnds(plane: DiskPlane): Promise<string> {
  const { sizeBytes } = plane;
  const hash = xxh64Stream();
  const bytes = Math.min(endBytes, sizeBytes);
  hash.update(await plane.read(0, bytes));
  hash.update(await plane.read(sizeBytes - bytes, bytes));
  return hash.digest().toString(16).padStart(16, '0');
}

/** Opens a disk that is to be read as it is, and locks it. @throws StorageError pool/held, disk/in-use, disk/unusable, image/tool */
export function openForeignPlane(
  opener: ImageDiskOpener,
  location: DiskLocation,
): Promise<PatientDiskPlane> {
  if (location.kind === 'image') return openImageDisk(opener, location);
  return openPatientDiskPlane(opener.dataPlane, location, { readOnly: true });
}

/**
 * Opens a disk that was adopted; one that is missing or was changed is replaced by one that answers with errors. Nobody waits for an image: it
 * answers when it is there, and was found to be what it was.
 *
 * @param onProblem is told why it cannot be read; of an image also later
 */
export async function openForeignDisk(
  opener: ImageDiskOpener,
  record: ForeignDiskRecord,
  onProblem: (problem: string) => void,
): Promise<OpenForeignDisk> {
  const location = locationOfForeign(record);
  const look = async (disk: DiskPlane) => expectSame(record, await identify(disk, location));
  const { sizeBytes } = record.foreign;
  try {
    if (location.kind !== 'image') return await openAsItWas(opener, record, look);
    const known = { sizeBytes, look, onProblem };
    const { plane, server } = await openImageLater(opener, location, known);
    return {
      record,
      plane,
      get problem() {
        return server.problem;
      },
    };
  } catch (error) {
    const { dataPlane } = opener;
    const absent = await dataPlane.openDisk({ kind: 'absent', sizeBytes });
    const plane = await dataPlane.openPatientDisk(absent, 0);
    const problem = messageOf(error);
    onProblem(problem);
    return { record, plane, problem, isAbsent: true };
  }
}

async function openAsItWas(
  opener: ImageDiskOpener,
  record: ForeignDiskRecord,
  look: (disk: DiskPlane) => Promise<void>,
): Promise<OpenForeignDisk> {
  const plane = await openForeignPlane(opener, locationOfForeign(record));
  try {
    await look(plane);
    return { record, plane, problem: null };
  } catch (error) {
    await plane.close();
    throw error;
  }
}

/** @throws StorageError disk/unusable how it differs */
function expectSame({ uri, foreign }: ForeignDiskRecord, now: ForeignIdentity): void {
  const changed = (how: string) =>
    new StorageError('disk/unusable', `disk ${uri} is not what was adopted: ${how}`);
  if (now.sizeBytes !== foreign.sizeBytes) {
    throw changed(`it has ${formatSize(now.sizeBytes)}, not ${formatSize(foreign.sizeBytes)}`);
  }
  if (now.modifiedNs !== foreign.modifiedNs) {
    throw changed(`it was written to at ${timeOf(now)}, and was last at ${timeOf(foreign)}`);
  }
  if (now.endsHash !== foreign.endsHash) throw changed('its content is another');
}

function timeOf({ modifiedNs }: ForeignIdentity): string {
  return new Date(Number(BigInt(modifiedNs ?? 0) / 1_000_000n)).toISOString();
}
