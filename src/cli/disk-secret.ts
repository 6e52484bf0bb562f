/**
 * CHAP secrets of iSCSI disks, from a file or the environment into the URIs that travel to the service: never on the command line,
 * where every user of the host reads them.
 */
import { readFile } from 'node:fs/promises';
import { usageError } from './errors.ts';
import { absoluteUri } from './paths.ts';

export const secretFileOption = [
  '--secret-file <path>',
  'CHAP secret of iscsi:// disks, or user%secret, in the first line (or VARVE_ISCSI_SECRET)',
] as const;

/**
 * The URIs as the service is to be told them. A secret is put into each `iscsi://` URI that has none; `user%secret` also names the
 * user where the URI does not.
 *
 * @throws CommandError the file cannot be read or is empty
 */
export async function diskUris(
  uris: readonly string[],
  secretFile: string | undefined,
): Promise<string[]> {
  const secret = await givenSecret(secretFile);
  return uris.map((uri) => withSecret(absoluteUri(uri), secret));
}

async function givenSecret(secretFile: string | undefined): Promise<string> {
  if (secretFile === undefined) return process.env.VARVE_ISCSI_SECRET ?? '';
  const content = await readFile(secretFile, 'utf8').catch((cause) => {
    throw usageError(`the secret file cannot be read: ${String(cause.message)}`, ['name another']);
  });
  const [secret = ''] = content.split(/\r?\n/);
  if (secret !== '') return secret;
  throw usageError(`${secretFile} holds no secret`, ['write the secret into its first line']);
}

/** Pure. */
export function withSecret(uri: string, secret: string): string {
  const match = /^(iscsi:\/\/)(?:([^%@/]+)@)?([^%@]*)$/i.exec(uri);
  if (match === null || secret === '') return uri;
  const [, scheme = '', user, rest = ''] = match;
  if (user !== undefined) {
    const bare = secret.startsWith(`${user}%`) ? secret.slice(user.length + 1) : secret;
    return `${scheme}${user}%${bare}@${rest}`;
  }
  // A portal without CHAP stays without: a bare secret belongs to some user.
  return secret.includes('%') ? `${scheme}${secret}@${rest}` : uri;
}
