/**
 * The offline check as a document, for the command line: no service, no addon.
 */
import { StorageError } from '../base/errors.ts';
import { checkOffline } from '../pool/check/check-offline.ts';
import { isNetworkUri, parseDiskUri } from '../pool/disk-uri.ts';
import { checkReportDocument } from './documents.ts';
import type { CheckReportDocument } from './schemas.ts';

function localPath(text: string): string {
  const uri = parseDiskUri(text);
  if (!isNetworkUri(uri)) return uri.path;
  throw new StorageError('request/invalid', `an offline check does not reach ${uri.normalized}`, {
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
