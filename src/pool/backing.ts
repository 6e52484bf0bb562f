/**
 * Backing disks before they belong to a pool: checked first, all of them; then made, and unmade when something fails.
 *
 * Network disks are reached through the data plane (probe-network.ts, backing-files.ts).
 */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import type { DiskLocation } from './disk-set.ts';
import { type DiskUri, isNetworkUri, type LocalDiskUri, parseDiskUri } from './disk-uri.ts';
import { type ProbeResult, probeDisk } from './probe.ts';
import { type DiskOpener, probeNetworkDisk } from './probe-network.ts';

export interface BackingPlan {
  readonly location: DiskLocation;
  readonly sizeBytes: number;
  /** The file is not there yet. */
  readonly create: boolean;
  /** The same for every path that leads to the same disk. */
  readonly identity: string;
}

export interface BackingRules {
  /** Takes the disk whatever it carries. */
  readonly force: boolean;
  /** What the disk is used for here, so that it must not be taken even by force; as in "disk … belongs to pool fast". */
  readonly usedAs: (identity: string) => string | undefined;
}

/**
 * Checks disks that are to join a pool; changes nothing.
 *
 * @throws StorageError request/invalid, disk/unusable, disk/in-use
 */
export async function planBackings(
  dataPlane: DiskOpener,
  uris: readonly string[],
  rules: BackingRules,
): Promise<BackingPlan[]> {
  const plans: BackingPlan[] = [];
  for (const uri of uris) {
    const plan = await planBacking(dataPlane, parseDiskUri(uri), rules);
    const double = plans.find(({ identity }) => identity === plan.identity);
    if (double !== undefined) {
      throw oneDisk(double.location.uri, plan.location.uri);
    }
    plans.push(plan);
  }
  return plans;
}

function oneDisk(uri: string, other: string): StorageError {
  return new StorageError('request/invalid', `${uri} and ${other} are one disk`);
}

/** Where the disks of an existing pool are. @throws StorageError request/invalid, disk/unusable */
export async function locateDisks(
  dataPlane: DiskOpener,
  uris: readonly string[],
): Promise<DiskLocation[]> {
  const locations: DiskLocation[] = [];
  const named = new Map<string, string>();
  for (const text of uris) {
    const uri = parseDiskUri(text);
    const probe = await probeUri(dataPlane, uri);
    expectDisk(uri, probe);
    if (probe.kind === 'missing') {
      throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no such file`);
    }
    const identity = probe.identity ?? uri.normalized;
    const double = named.get(identity);
    if (double !== undefined) throw oneDisk(double, uri.normalized);
    named.set(identity, uri.normalized);
    locations.push(locationOf(uri, probe));
  }
  return locations;
}

/** Disks in use here, and what for: as in "disk … belongs to pool fast". */
export interface DiskUse {
  readonly use: string;
  readonly disks: readonly DiskLocation[];
}

/** What the disks are used for, by their identities. */
export async function usedDisks(
  dataPlane: DiskOpener,
  uses: readonly DiskUse[],
): Promise<Map<string, string>> {
  const used = new Map<string, string>();
  for (const { use, disks } of uses) {
    for (const disk of disks) {
      const probe = await probeLocation(dataPlane, disk).catch(() => undefined);
      if (probe?.identity) used.set(probe.identity, use);
    }
  }
  return used;
}

/**
 * Whose disks these are; by the first one's label, recovery compares the others.
 *
 * @throws StorageError request/invalid, disk/unusable
 */
export async function identifyPool(
  dataPlane: DiskOpener,
  disks: readonly DiskLocation[],
): Promise<{ uuid: string; name: string }> {
  const [first] = disks;
  if (first === undefined) throw new StorageError('request/invalid', 'no disk was named');
  const { label, labelProblem } = await probeLocation(dataPlane, first);
  if (label !== null) return { uuid: label.poolUuid, name: label.poolName };
  const why = labelProblem?.message ?? 'it carries no varve label';
  throw new StorageError('disk/unusable', `disk ${first.uri}: ${why}`);
}

/** What a disk is and carries, on this host or behind a network; an image behind a URL is missing here. */
function probeLocation(dataPlane: DiskOpener, location: DiskLocation): Promise<ProbeResult> {
  const isRemote = location.kind === 'nfs' || location.kind === 'iscsi';
  return isRemote ? probeNetworkDisk(dataPlane, location) : probeDisk(location.path);
}

export function probeUri(dataPlane: DiskOpener, uri: DiskUri): Promise<ProbeResult> {
  if (!isNetworkUri(uri)) return probeDisk(uri.path);
  return probeNetworkDisk(dataPlane, locationOf(uri, undefined));
}

async function planBacking(
  dataPlane: DiskOpener,
  uri: DiskUri,
  rules: BackingRules,
): Promise<BackingPlan> {
  const probe = await probeUri(dataPlane, uri);
  expectDisk(uri, probe);
  if (probe.kind === 'missing' || isUnfinished(uri, probe)) return planNewFile(uri);
  expectTakeable(uri, probe, rules);
  const sizeBytes = wantedBytes(uri);
  if (sizeBytes !== undefined && sizeBytes !== probe.sizeBytes) {
    throw new StorageError(
      'disk/unusable',
      `disk ${uri.normalized} is there with ${formatSize(probe.sizeBytes)}, not ${formatSize(sizeBytes)}`,
      { actions: ['leave the size out, or name another file'] },
    );
  }
  const identity = probe.identity ?? uri.path;
  return { location: locationOf(uri, probe), sizeBytes: probe.sizeBytes, create: false, identity };
}

/** An empty file where one of a size is to be: what is left when its making was cut off; it holds nothing. */
function isUnfinished(uri: DiskUri, probe: ProbeResult): boolean {
  if (isNetworkUri(uri) || uri.sizeBytes === undefined) return false;
  return probe.kind === 'file' && probe.sizeBytes === 0;
}

/** What the file is to have, if the URI says so; a LUN's size is the target's business. */
export function wantedBytes(uri: DiskUri): number | undefined {
  return uri.kind === 'iscsi' ? undefined : uri.sizeBytes;
}

async function planNewFile(uri: DiskUri): Promise<BackingPlan> {
  if (uri.kind === 'block' || uri.kind === 'iscsi') {
    throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no such device`);
  }
  if (uri.sizeBytes === undefined) {
    throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no such file`, {
      actions: [`name its size to have it created: ${exampleWithSize(uri)}`],
    });
  }
  if (!isNetworkUri(uri)) await expectFolder(uri);
  const { sizeBytes } = uri;
  const location = locationOf(uri, undefined);
  return { location, sizeBytes, create: true, identity: `new:${uri.path}` };
}

function exampleWithSize(uri: Exclude<DiskUri, { kind: 'iscsi' }>): string {
  if (uri.kind !== 'nfs') return `file:${uri.path}?size=100GiB`;
  return `${uri.normalized}${uri.normalized.includes('?') ? '&' : '?'}size=100GiB`;
}

async function expectFolder(uri: LocalDiskUri): Promise<void> {
  const folder = dirname(uri.path);
  const stats = await stat(folder).catch(() => undefined);
  if (!stats?.isDirectory()) {
    throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no folder ${folder}`);
  }
}

/** @param probe of a disk that is there: a bare path may be a file or a block device */
export function locationOf(uri: DiskUri, probe: ProbeResult | undefined): DiskLocation {
  const { normalized, path, kind } = uri;
  if (kind === 'nfs') return { uri: normalized, path, kind };
  if (kind !== 'iscsi')
    return { uri: normalized, path, kind: probe?.kind === 'block' ? 'block' : 'file' };
  const secret = uri.secret === undefined ? {} : { secret: uri.secret };
  return { uri: normalized, path, kind, ...secret };
}

/** @throws StorageError disk/unusable the path is no disk of that kind, or must not be written to */
export function expectDisk(
  uri: DiskUri,
  probe: ProbeResult,
  { readOnly }: { readonly readOnly: boolean } = { readOnly: false },
): void {
  const unusable = (why: string) =>
    new StorageError('disk/unusable', `disk ${uri.normalized} ${why}`);
  if (probe.kind === 'directory') throw unusable('is a directory');
  if (probe.kind === 'special') throw unusable('is neither a file nor a block device');
  if (probe.kind === 'missing') return;
  if (uri.kind !== 'any' && uri.kind !== probe.kind) {
    throw unusable(`is a ${probe.kind === 'block' ? 'block device' : 'file'}`);
  }
  if (!probe.writable && !readOnly) throw unusable('is read-only');
}

function expectTakeable(uri: DiskUri, probe: ProbeResult, rules: BackingRules): void {
  const use = probe.identity === null ? undefined : rules.usedAs(probe.identity);
  if (use !== undefined) {
    throw new StorageError('disk/in-use', `disk ${uri.normalized} ${use}`);
  }
  const content = contentOf(probe);
  if (content === undefined || rules.force) return;
  throw new StorageError('disk/in-use', `disk ${uri.normalized} carries ${content}`, {
    actions: ['repeat with --force to overwrite it'],
  });
}

/** What the disk carries, in words; undefined when nothing known is there. */
export function contentOf({ label, labelProblem, signature }: ProbeResult): string | undefined {
  if (label !== null) return `a disk of pool ${label.poolName}`;
  if (labelProblem !== null) return `a varve label (${labelProblem.message})`;
  return signature ?? undefined;
}
