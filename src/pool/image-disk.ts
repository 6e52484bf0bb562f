/**
 * Image disks: images of formats that qemu knows, as disks that are only read. Each is shown to the data plane by an NBD server of its own, which
 * lives as long as the disk is open.
 *
 *   image:FORMAT:SOURCE     names one; SOURCE is an absolute path, or a URL that qemu reads
 *
 * Elsewhere: the servers (src/image/image-servers.ts), the layers that point to such a disk (src/volume/adoption.ts).
 */
import { stat } from 'node:fs/promises';
import { messageOf, StorageError } from '../base/errors.ts';
import type { PatientDiskPlane } from '../dataplane/data-plane.ts';
import type { DiskLocation, PatientDiskOpener } from './disk-set.ts';

export interface Image {
  readonly format: string;
  readonly source: string;
}

/** One that runs. */
export interface ImageServer {
  /** Its unix socket; the default export is what a guest would see of the image. */
  readonly socketPath: string;
  /** Nobody reads the image any more. */
  close(): Promise<void>;
}

export interface ImageServers {
  /** @throws StorageError disk/unusable the image cannot be opened; image/tool */
  serve(image: Image): Promise<ImageServer>;
}

const uriPattern = /^image:([a-z0-9]+):(.+)$/s;

export function isImageUri(uri: string): boolean {
  return uriPattern.test(uri);
}

export function imageLocation({ format, source }: Image): DiskLocation {
  return { uri: `image:${format}:${source}`, path: source, kind: 'image' };
}

export function imageAt({ uri }: Pick<DiskLocation, 'uri'>): Image {
  const [, format, source] = uriPattern.exec(uri) ?? [];
  if (format === undefined || source === undefined) throw new Error(`${uri} is no image`);
  return { format, source };
}

/** @throws StorageError disk/unusable, image/tool */
export async function openImageDisk(
  { dataPlane, images }: { dataPlane: PatientDiskOpener; images: ImageServers | undefined },
  location: DiskLocation,
): Promise<PatientDiskPlane> {
  const { uri } = location;
  if (images === undefined) throw new StorageError('disk/unusable', `disk ${uri} is an image`);
  const server = await images.serve(imageAt(location));
  try {
    const disk = await dataPlane.openDisk({ kind: 'nbd', path: server.socketPath });
    disk.onClosed(() => server.close());
    return await dataPlane.openPatientDisk(disk, 0);
  } catch (cause) {
    await server.close();
    const text = `disk ${uri} cannot be opened: ${messageOf(cause)}`;
    throw new StorageError('disk/unusable', text, { cause });
  }
}

/** When a file was changed last, in nanoseconds since the epoch, as text; null of what is no file of this host. */
export async function modifiedNsOf(path: string): Promise<string | null> {
  if (!path.startsWith('/')) return null;
  const stats = await stat(path, { bigint: true });
  return stats.isFile() ? String(stats.mtimeNs) : null;
}
