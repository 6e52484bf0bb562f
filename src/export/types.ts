/**
 * What the export layer stores, tells and takes.
 */
import type { ClientStats } from '../dataplane/binding.ts';

/** As stored in the pool under `export/<name>`. */
export interface ExportRecord {
  readonly name: string;
  readonly volumeId: number;
  /** The snapshot of that volume which is served instead of the volume itself. */
  readonly snapshotId?: number;
  /** Written to a head of its own, which vanishes when the export ends. */
  readonly scratch?: true;
  /** A snapshot or bookmark of the volume: what changed since is told to clients that ask. */
  readonly changedSince?: string;
  /** When that one was taken: a later one that got its name is another. */
  readonly changedSinceTime?: string;
  readonly readOnly: boolean;
  /** Addresses besides the default socket; a TCP port is the one in use, so that URIs outlive a restart. */
  readonly listen: readonly string[];
  readonly createdAt: string;
}

export interface ExportInfo {
  readonly name: string;
  readonly volume: string;
  readonly snapshot: string | null;
  readonly scratch: boolean;
  readonly changedSince: string | null;
  readonly pool: string;
  readonly readOnly: boolean;
  /** Every address that serves it, the default one first when it does. */
  readonly listen: readonly string[];
  readonly uris: readonly string[];
  readonly clients: number;
  readonly sizeBytes: number;
  readonly createdAt: string;
  /** Why it is not served, although it is recorded; null when it is. */
  readonly failure: string | null;
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
