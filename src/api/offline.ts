/**
 * The offline check as a document, for the command line: no service, no addon.
 */
import { checkOffline } from '../pool/check/check-offline.ts';
import { parseDiskUri } from '../pool/disk-uri.ts';
import { checkReportDocument } from './documents.ts';
import type { CheckReportDocument } from './schemas.ts';

/** @throws StorageError disk/unusable a disk cannot be read, pool/disk-missing one was not given */
export async function checkOfflineDocument(uris: string[]): Promise<CheckReportDocument> {
  return checkReportDocument(await checkOffline(uris.map((uri) => parseDiskUri(uri).path)));
}
