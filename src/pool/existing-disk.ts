/**
 * Disks that are used as they are, in no pool: passed through, or adopted. Checked here before anything is decided about them.
 */
import { StorageError } from '../base/errors.ts';
import { expectDisk, locationOf, probeUri, wantedBytes } from './backing.ts';
import type { DiskLocation } from './disk-set.ts';
import { type DiskUri, parseDiskUri } from './disk-uri.ts';
import type { ProbeResult } from './probe.ts';
import type { DiskOpener } from './probe-network.ts';

export interface ExistingDisk {
  readonly location: DiskLocation;
  readonly sizeBytes: number;
  readonly probe: ProbeResult;
}

export interface ExistingDiskRules {
  /** It will only be read. */
  readonly readOnly: boolean;
  /** What the disk is used for here, as in "disk … is passed through"; undefined when it is free. */
  readonly usedAs: (identity: string) => string | undefined;
}

/**
 * What the URI names, when it can be used as it is; nothing is opened for longer than a look.
 *
 * @throws StorageError request/invalid; disk/unusable it is missing, empty, a directory, not permitted; disk/in-use it is used here, or carries
 *   a varve label
 */
export async function findExistingDisk(
  dataPlane: DiskOpener,
  text: string,
  rules: ExistingDiskRules,
): Promise<ExistingDisk> {
  const uri = parseDiskUri(text);
  const probe = await probeUri(dataPlane, uri);
  expectDisk(uri, probe, rules);
  expectContent(uri, probe);
  const use = probe.identity === null ? undefined : rules.usedAs(probe.identity);
  if (use !== undefined) {
    throw new StorageError('disk/in-use', `disk ${uri.normalized} ${use}`);
  }
  expectNoLabel(uri, probe);
  return { location: locationOf(uri, probe), sizeBytes: probe.sizeBytes, probe };
}

function expectContent(uri: DiskUri, { kind, sizeBytes }: ProbeResult): void {
  const refused = (why: string) =>
    new StorageError('disk/unusable', `disk ${uri.normalized}: ${why}`);
  if (kind === 'missing') throw refused('there is no such file or device');
  if (sizeBytes === 0) throw refused('it is empty');
  const wanted = wantedBytes(uri);
  if (wanted === undefined || wanted === sizeBytes) return;
  throw refused(`it has ${sizeBytes} bytes, not ${wanted}`);
}

function expectNoLabel({ normalized }: DiskUri, { label, labelProblem }: ProbeResult): void {
  if (label === null && labelProblem === null) return;
  const whose =
    label === null
      ? `a varve label (${labelProblem?.message})`
      : `a disk of the varve pool ${label.poolName}`;
  throw new StorageError('disk/in-use', `disk ${normalized} carries ${whose}`, {
    actions: [`varve pool import ${normalized}, and use its volumes`],
  });
}
