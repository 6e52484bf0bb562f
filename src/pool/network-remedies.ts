/**
 * What to do when a network disk cannot be reached or opened: by errno, one or two sentences. Pure.
 */
import { constants, hostname } from 'node:os';
import { DataPlaneError } from '../dataplane/data-plane.ts';
import type { DiskKind } from './disk-set.ts';
import { initiatorName } from './disk-spec.ts';

type Remedies = Readonly<Record<number, readonly string[]>>;

const { errno } = constants;
/** "Package not installed": a library that is loaded when first needed is not there. */
const ENOPKG = 65;
/** Linux's numbers of what node:os does not list. */
const ENOTBLK = 15;
const ENOTUNIQ = 76;

const unreachable = ['check the name, that the server runs and that no firewall is between'];

const nfsRemedies: Remedies = {
  [ENOPKG]: ['apt-get install libnfs13'],
  [errno.ENOENT]: [
    'name a file that exists, or a size to have it created: nfs://host/export/file?size=100GiB',
  ],
  [errno.ENXIO]: ['varve disk scan nfs://HOST lists the exports'],
  [errno.EACCES]: [
    'allow this host in the export on the server (rw; `insecure` unless varve runs as root), and this user on the file',
    'varve disk scan nfs://HOST lists the exports',
  ],
  [errno.ECONNREFUSED]: [
    'start the NFS server; nfsport= and mountport= name other ports, version=4 needs only 2049',
  ],
  [errno.ESTALE]: ['the file was replaced or the export changed: look at the server'],
};

const listsTargets = 'varve disk scan iscsi://HOST lists targets and LUNs';

const iscsiRemedies: Remedies = {
  [ENOPKG]: ['apt-get install libiscsi7'],
  [errno.ENOENT]: [listsTargets],
  [errno.ENXIO]: [listsTargets],
  [ENOTBLK]: [`name a LUN that is a disk; ${listsTargets}`],
  [errno.EACCES]: [
    "name the target's CHAP user in the URI and its secret by --secret-file or VARVE_ISCSI_SECRET",
    `let ${initiatorName(hostname())} in at the target; end another host's reservation of the LUN`,
  ],
  [errno.EROFS]: ['let this host write to the LUN at the target'],
  [errno.ESTALE]: ['name portals of one LUN only, at its full size'],
  [ENOTUNIQ]: ['name one portal'],
};

const tables: Readonly<Record<DiskKind, Remedies | undefined>> = {
  file: undefined,
  image: undefined,
  block: undefined,
  nfs: { ...nfsRemedies, [errno.EPERM]: nfsRemedies[errno.EACCES] ?? [] },
  iscsi: iscsiRemedies,
};

const unreachableCodes: readonly number[] = [
  errno.ECONNREFUSED,
  errno.ECONNRESET,
  errno.EHOSTUNREACH,
  errno.ENETUNREACH,
  errno.ENOTCONN,
  errno.ETIMEDOUT,
];

/** The `actions` of an error about a disk of that kind; nothing when there is nothing better than the code's own. */
export function networkRemedies(
  kind: DiskKind,
  cause: unknown,
): { readonly actions?: readonly string[] } {
  const table = tables[kind];
  if (table === undefined || !(cause instanceof DataPlaneError)) return {};
  const known = table[cause.errno];
  if (known !== undefined) return { actions: known };
  return unreachableCodes.includes(cause.errno) ? { actions: unreachable } : {};
}
