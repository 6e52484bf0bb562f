/**
 * What the export layer stores, tells and takes.
 */
import type { ClientStats } from '../dataplane/binding.ts';
import type { DiskLocation } from '../pool/disk-set.ts';
import type { DiskInfo, PoolWarning } from '../pool/types.ts';

interface AnyExportRecord {
  readonly name: string;
  readonly readOnly: boolean;
  /** Addresses besides the default socket; a TCP port is the one in use, so that URIs outlive a restart. */
  readonly listen: readonly string[];
  readonly createdAt: string;
}

/** As stored in the pool under `export/<name>`. */
export interface VolumeExportRecord extends AnyExportRecord {
  readonly volumeId: number;
  /** The snapshot of that volume which is served instead of the volume itself. */
  readonly snapshotId?: number;
  /** Written to a head of its own, which vanishes when the export ends. */
  readonly scratch?: true;
  /** A snapshot or bookmark of the volume: what changed since is told to clients that ask. */
  readonly changedSince?: string;
  /** When that one was taken: a later one that got its name is another. */
  readonly changedSinceTime?: string;
}

/** A whole disk as it is, without the map of a pool; as stored in the state folder. */
export interface DiskExportRecord extends AnyExportRecord {
  /** Names what this is, so that it finds the disk again. */
  readonly uuid: string;
  readonly disk: DiskLocation;
  /** When it was added; what is served has the size that is found. */
  readonly sizeBytes: number;
}

export type ExportRecord = VolumeExportRecord | DiskExportRecord;

export function isPassthrough(record: ExportRecord): record is DiskExportRecord {
  return 'disk' in record;
}

export interface ExportInfo {
  readonly name: string;
  readonly kind: 'volume' | 'snapshot' | 'passthrough';
  /** Null of a passthrough. */
  readonly volume: string | null;
  readonly snapshot: string | null;
  readonly scratch: boolean;
  readonly changedSince: string | null;
  /** Null of a passthrough. */
  readonly pool: string | null;
  /** Only of a passthrough. */
  readonly disk: string | null;
  readonly readOnly: boolean;
  /** Every address that serves it, the default one first when it does. */
  readonly listen: readonly string[];
  readonly uris: readonly string[];
  readonly clients: number;
  /** What a guest knows it by. */
  readonly serial: string;
  readonly sizeBytes: number;
  readonly createdAt: string;
  /** Why it is not served, although it is recorded; null when it is. */
  readonly failure: string | null;
}

/** A disk that is exported as it is. */
export interface PassthroughInfo extends Pick<DiskInfo, 'state' | 'failing' | 'paths'> {
  readonly uuid: string;
  readonly export: string;
  readonly disk: DiskLocation;
  readonly sizeBytes: number;
  readonly warnings: readonly PoolWarning[];
}

export interface PassthroughOptions {
  readonly disk: string;
  readonly name: string;
  readonly readOnly?: boolean;
  /** `unix:PATH` or `tcp:HOST:PORT`, besides the default socket. */
  readonly listen?: readonly string[];
  readonly dryRun?: boolean;
}

export interface AddExportOptions {
  readonly volume: string;
  /** Serves this snapshot of the volume: read-only, or as scratch. */
  readonly snapshot?: string;
  readonly scratch?: boolean;
  /** Of a snapshot export: offers what changed since that snapshot or bookmark. */
  readonly changedSince?: string;
  readonly name: string;
  readonly readOnly?: boolean;
  /** `unix:PATH` or `tcp:HOST:PORT`, in place of the default socket. */
  readonly listen?: readonly string[];
  readonly dryRun?: boolean;
}

export interface RemoveExportOptions {
  /** Closes connected clients after what is in flight. */
  readonly disconnect?: boolean;
  readonly dryRun?: boolean;
}

export type ExportClient = ClientStats;
