/**
 * `iscsi://[user%password@]host[:port][,host[:port]…]/iqn/lun`: one LUN, reached through one or several portals. Pure.
 *
 * The password stands in `secret` alone: `normalized` names the same disk without it.
 */
import { Secret } from '../base/secret.ts';
import { invalidUri, parseHost, parsePort } from './uri-parts.ts';

export interface IscsiPortal {
  /** Lower case; an IPv6 address stands in brackets. */
  readonly host: string;
  readonly port: number;
}

export interface IscsiDiskUri {
  readonly kind: 'iscsi';
  readonly portals: readonly IscsiPortal[];
  /** The target's iqn., eui. or naa. name. */
  readonly target: string;
  readonly lun: number;
  /** CHAP. */
  readonly user?: string;
  readonly secret?: Secret;
  /** As `normalized`: there is no path on this host. */
  readonly path: string;
  /** In one way only, without the password. */
  readonly normalized: string;
}

const defaultPort = 3260;
/** Of the flat space, SAM-5. */
const lunMax = 16_383;

/** `host`, `host:port`, `[v6]`, `[v6]:port`. @throws StorageError request/invalid */
export function parsePortal(text: string, written: string): IscsiPortal {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(written);
  const [, host = '', port] = match ?? [];
  return {
    host: parseHost(text, host),
    port: port === undefined ? defaultPort : parsePort(text, 'the port', port),
  };
}

function formatPortal({ host, port }: IscsiPortal): string {
  return port === defaultPort ? host : `${host}:${port}`;
}

function parsePortals(text: string, written: string): IscsiPortal[] {
  const portals = written.split(',').map((portal) => parsePortal(text, portal));
  if (new Set(portals.map(formatPortal)).size < portals.length) {
    throw invalidUri(text, 'a portal is named twice');
  }
  return portals;
}

function parseTarget(text: string, written: string): string {
  if (/^(?:iqn|eui|naa)\.[a-z0-9.:-]+$/i.test(written)) return written.toLowerCase();
  throw invalidUri(text, `"${written}" is no target name: iqn.…, eui.… or naa.…`);
}

function parseLun(text: string, written: string): number {
  const lun = Number(written);
  if (/^\d+$/.test(written) && lun <= lunMax) return lun;
  throw invalidUri(text, `the LUN is a number from 0 to ${lunMax}`);
}

/** @throws StorageError request/invalid */
export function parseIscsiUri(text: string): IscsiDiskUri {
  const match = /^iscsi:\/\/(?:([^%@/]+)(?:%(.*))?@)?([^@/?]+)\/([^/?]+)\/([^/?]+)$/is.exec(text);
  if (match === null) {
    throw invalidUri(text, 'an iSCSI disk is iscsi://[user%password@]host[:port]/iqn/lun');
  }
  const [, user, secret, hosts = '', target = '', lun = ''] = match;
  const parts = {
    portals: parsePortals(text, hosts),
    target: parseTarget(text, target),
    lun: parseLun(text, lun),
    ...(user === undefined ? {} : { user }),
  };
  const authority = parts.portals.map(formatPortal).join(',');
  const login = user === undefined ? '' : `${user}@`;
  const normalized = `iscsi://${login}${authority}/${parts.target}/${parts.lun}`;
  return {
    kind: 'iscsi',
    ...parts,
    ...(secret === undefined ? {} : { secret: new Secret(secret) }),
    path: normalized,
    normalized,
  };
}
