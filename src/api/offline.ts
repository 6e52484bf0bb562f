/**
 * The offline check and salvage as documents, for the command line: no service, no addon.
 */
import { StorageError } from '../base/errors.ts';
import { checkOffline } from '../pool/check/check-offline.ts';
import { isNetworkUri, parseDiskUri } from '../pool/disk-uri.ts';
import { withNewFile } from '../pool/salvage/output-file.ts';
import { Salvage } from '../pool/salvage/salvage.ts';
import { checkReportDocument } from './documents.ts';
import {
  type SalvageDocument,
  type SalvageListDocument,
  salvageDocument,
  salvageListDocument,
} from './salvage-documents.ts';
import type { CheckReportDocument } from './schemas.ts';

function localPath(text: string): string {
  const uri = parseDiskUri(text);
  if (!isNetworkUri(uri)) return uri.path;
  throw new StorageError('request/invalid', `only the service reaches ${uri.normalized}`, {
    actions: ['varve pool import, then varve pool check NAME'],
  });
}

/**
 * @throws StorageError request/invalid a network disk: only the service reaches it; disk/unusable a disk cannot be read;
 *   pool/disk-missing one was not given
 */
export async function checkOfflineDocument(uris: string[]): Promise<CheckReportDocument> {
  return checkReportDocument(await checkOffline(uris.map(localPath)));
}

/**
 * What can be copied out of these disks.
 *
 * @throws StorageError request/invalid a network disk, or disks of several pools; disk/unusable; pool/damaged no label can be read; pool/format
 */
export async function salvageListOf(uris: string[]): Promise<SalvageListDocument> {
  const salvage = await Salvage.open(uris.map(localPath));
  try {
    return salvageListDocument(salvage.overview);
  } finally {
    await salvage.close();
  }
}

/**
 * Copies a volume or snapshot into a new file.
 *
 * @param file null: everything is read, nothing written
 * @throws StorageError as salvageListOf; volume/not-found, snapshot/not-found; request/invalid the file exists; disk/io it cannot be written
 */
export async function salvageTo(
  uris: string[],
  name: string,
  file: string | null,
): Promise<SalvageDocument> {
  const salvage = await Salvage.open(uris.map(localPath));
  try {
    const target = salvage.target(name);
    const salvaged =
      file === null
        ? await salvage.extract(target, async () => {})
        : await withNewFile(file, target.sizeBytes, (write) => salvage.extract(target, write));
    return salvageDocument(salvage.overview, target, salvaged, file);
  } finally {
    await salvage.close();
  }
}
