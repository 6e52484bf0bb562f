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
import type { DiskSpec } from '../dataplane/binding.ts';
import type { DiskPlane, PatientDiskPlane } from '../dataplane/data-plane.ts';
import type { DiskLocation, PatientDiskOpener } from './disk-set.ts';

export interface Image {
  readonly format: string;
  readonly source: string;
}

export interface ImageServer {
  /** Its unix socket; the default export is what a guest would see of the image. */
  readonly socketPath: string;
  /** Why it does not serve, as far as is known; null while it does, and until it was tried. */
  readonly problem: string | null;
  /** Nobody reads the image any more. */
  close(): Promise<void>;
}

/** Whoever knows the image from before. */
export interface ImageWatch {
  /** Looks at what is served on that socket, before anybody else is let in. @throws why it is not to be read */
  readonly accept: (socketPath: string) => Promise<void>;
  /** It cannot be had, or is not accepted; told once for each reason. It is tried again. */
  readonly onProblem: (problem: string) => void;
}

export interface ImageServers {
  /** One that runs. @throws StorageError disk/unusable the image cannot be opened; image/tool */
  serve(image: Image): Promise<ImageServer>;
  /** One that runs as soon as the image is there and accepted, whenever that is. */
  keep(image: Image, watch: ImageWatch): ImageServer;
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

export interface ImageDiskOpener {
  readonly dataPlane: PatientDiskOpener;
  /** Undefined where no image can be read. */
  readonly images?: ImageServers | undefined;
}

/** Opens an image that is there. @throws StorageError disk/unusable, image/tool */
export async function openImageDisk(
  opener: ImageDiskOpener,
  location: DiskLocation,
): Promise<PatientDiskPlane> {
  const server = await serversOf(opener, location).serve(imageAt(location));
  try {
    return await openServed(opener, server);
  } catch (cause) {
    const text = `disk ${location.uri} cannot be opened: ${messageOf(cause)}`;
    throw new StorageError('disk/unusable', text, { cause });
  }
}

/**
 * Opens an image that is known from before, and may come later: until then it is a disk that does not answer.
 *
 * @param look at the disk that is served, before anything else reads it @throws why it is not to be read
 * @throws StorageError disk/unusable no image can be read here
 */
export async function openImageLater(
  opener: ImageDiskOpener,
  location: DiskLocation,
  known: {
    readonly sizeBytes: number;
    readonly look: (disk: DiskPlane) => Promise<void>;
    readonly onProblem: ImageWatch['onProblem'];
  },
): Promise<{ plane: PatientDiskPlane; server: ImageServer }> {
  const accept = async (path: string) => {
    const disk = await opener.dataPlane.openDisk({ kind: 'nbd', path });
    try {
      await known.look(disk);
    } finally {
      await disk.close();
    }
  };
  const watch = { accept, onProblem: known.onProblem };
  const server = serversOf(opener, location).keep(imageAt(location), watch);
  const { sizeBytes } = known;
  return { plane: await openServed(opener, server, { sizeBytes }), server };
}

function serversOf({ images }: ImageDiskOpener, { uri }: DiskLocation): ImageServers {
  if (images !== undefined) return images;
  throw new StorageError('disk/unusable', `disk ${uri} is an image`);
}

/** The server is closed with the disk. @param size known: the server need not be there yet */
async function openServed(
  { dataPlane }: ImageDiskOpener,
  server: ImageServer,
  size: Pick<DiskSpec, 'sizeBytes'> = {},
): Promise<PatientDiskPlane> {
  try {
    const disk = await dataPlane.openDisk({ kind: 'nbd', path: server.socketPath, ...size });
    disk.onClosed(() => server.close());
    return await dataPlane.openPatientDisk(disk, 0);
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** When a file was changed last, in nanoseconds since the epoch, as text; null of what is no file of this host. */
export async function modifiedNsOf(path: string): Promise<string | null> {
  if (!path.startsWith('/')) return null;
  const stats = await stat(path, { bigint: true });
  return stats.isFile() ? String(stats.mtimeNs) : null;
}
