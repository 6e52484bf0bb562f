/**
 * Backing disks before they belong to a pool: checked first, all of them; then made, and unmade when something fails.
 */
import { open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import type { DiskLocation } from './disk-set.ts';
import { type DiskUri, parseDiskUri } from './disk-uri.ts';
import { type ProbeResult, probeDisk } from './probe.ts';

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
  uris: readonly string[],
  rules: BackingRules,
): Promise<BackingPlan[]> {
  const plans: BackingPlan[] = [];
  for (const uri of uris) {
    const plan = await planBacking(parseDiskUri(uri), rules);
    const double = plans.find(({ identity }) => identity === plan.identity);
    if (double !== undefined) {
      const { uri: other } = double.location;
      throw new StorageError('request/invalid', `${other} and ${plan.location.uri} are one disk`);
    }
    plans.push(plan);
  }
  return plans;
}

/** Where the disks of an existing pool are. @throws StorageError request/invalid, disk/unusable */
export async function locateDisks(uris: readonly string[]): Promise<DiskLocation[]> {
  const locations: DiskLocation[] = [];
  for (const text of uris) {
    const uri = parseDiskUri(text);
    const probe = await probeDisk(uri.path);
    expectDisk(uri, probe);
    if (probe.kind === 'missing') {
      throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no such file`);
    }
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
export async function usedDisks(uses: readonly DiskUse[]): Promise<Map<string, string>> {
  const used = new Map<string, string>();
  for (const { use, disks } of uses) {
    for (const { path } of disks) {
      const probe = await probeDisk(path).catch(() => undefined);
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
  disks: readonly DiskLocation[],
): Promise<{ uuid: string; name: string }> {
  const [first] = disks;
  if (first === undefined) throw new StorageError('request/invalid', 'no disk was named');
  const { label, labelProblem } = await probeDisk(first.path);
  if (label !== null) return { uuid: label.poolUuid, name: label.poolName };
  const why = labelProblem?.message ?? 'it carries no varve label';
  throw new StorageError('disk/unusable', `disk ${first.uri}: ${why}`);
}

async function planBacking(uri: DiskUri, rules: BackingRules): Promise<BackingPlan> {
  const probe = await probeDisk(uri.path);
  expectDisk(uri, probe);
  if (probe.kind === 'missing') return planNewFile(uri);
  expectTakeable(uri, probe, rules);
  if (uri.sizeBytes !== undefined && uri.sizeBytes !== probe.sizeBytes) {
    throw new StorageError(
      'disk/unusable',
      `disk ${uri.normalized} is there with ${formatSize(probe.sizeBytes)}, not ${formatSize(uri.sizeBytes)}`,
      { actions: ['leave the size out, or name another file'] },
    );
  }
  const identity = probe.identity ?? uri.path;
  return { location: locationOf(uri, probe), sizeBytes: probe.sizeBytes, create: false, identity };
}

async function planNewFile(uri: DiskUri): Promise<BackingPlan> {
  if (uri.kind === 'block') {
    throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no such device`);
  }
  if (uri.sizeBytes === undefined) {
    throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no such file`, {
      actions: [`name its size to have it created: file:${uri.path}?size=100GiB`],
    });
  }
  const folder = dirname(uri.path);
  const stats = await stat(folder).catch(() => undefined);
  if (!stats?.isDirectory()) {
    throw new StorageError('disk/unusable', `disk ${uri.normalized}: there is no folder ${folder}`);
  }
  const location: DiskLocation = { uri: uri.normalized, path: uri.path, kind: 'file' };
  return { location, sizeBytes: uri.sizeBytes, create: true, identity: `new:${uri.path}` };
}

export function locationOf(uri: DiskUri, probe: ProbeResult): DiskLocation {
  return {
    uri: uri.normalized,
    path: uri.path,
    kind: probe.kind === 'block' ? 'block' : 'file',
  };
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

function contentOf({ label, labelProblem, signature }: ProbeResult): string | undefined {
  if (label !== null) return `a disk of pool ${label.poolName}`;
  if (labelProblem !== null) return `a varve label (${labelProblem.message})`;
  return signature ?? undefined;
}

/** Creates the files that are not there, sparse. @throws StorageError disk/unusable; none of them is left then */
export async function createFiles(plans: readonly BackingPlan[]): Promise<void> {
  const created: BackingPlan[] = [];
  try {
    for (const plan of plans.filter(({ create }) => create)) {
      await createSparse(plan, () => created.push(plan));
    }
  } catch (error) {
    await removeFiles(created);
    throw error;
  }
}

/** Undoes `createFiles`. */
export async function removeFiles(plans: readonly BackingPlan[]): Promise<void> {
  for (const plan of plans.filter(({ create }) => create)) {
    await rm(plan.location.path, { force: true });
  }
}

async function createSparse(plan: BackingPlan, onCreated: () => void): Promise<void> {
  try {
    const file = await open(plan.location.path, 'wx', 0o600);
    onCreated();
    try {
      await file.truncate(plan.sizeBytes);
    } finally {
      await file.close();
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StorageError('disk/unusable', `disk ${plan.location.uri} cannot be created: ${why}`, {
      cause,
    });
  }
}
