/**
 * What the pool layer tells and takes; the words and units of cli.md.
 */
import type { Latencies } from '../dataplane/data-plane.ts';

export interface DiskInfo {
  readonly uuid: string;
  /** `adopted`: only read, and no space of the pool's. */
  readonly role: 'pool' | 'adopted';
  readonly number: number;
  readonly pool: string;
  /** As the operator gave it, normalized. */
  readonly uri: string;
  /** On this host; a network disk has none, its URI stands here. */
  readonly path: string;
  readonly kind: 'file' | 'block' | 'nfs' | 'iscsi' | 'image';
  readonly state: 'online' | 'suspended' | 'failed';
  /** Why it is not online; null when it is. */
  readonly failing: DiskFailing | null;
  /** The portals of an iSCSI disk; none of any other. */
  readonly paths: readonly DiskPathInfo[];
  /** A free label for placement, for instance `ssd`; null: none. */
  readonly class: string | null;
  /** Takes no new data. */
  readonly cordoned: boolean;
  /** Carries a replica of journal and checkpoint. */
  readonly journal: boolean;
  /** It carried one, which was left behind and is not begun again yet. */
  readonly journalLost: boolean;
  readonly sizeBytes: number;
  /** Bytes of clusters, without labels and journal. */
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly freeBytes: number;
}

/** A disk that does not do what it is asked. */
export interface DiskFailing {
  readonly reason: string;
  readonly seconds: number;
  /** Until what waits fails; 0 once it has. */
  readonly patienceLeftSeconds: number;
  /** Requests that wait. */
  readonly held: number;
}

/** One way to a disk. */
export interface DiskPathInfo {
  readonly portal: string;
  /** `standby`: answered when last looked at. `refused`: answers, but shows another disk. */
  readonly state: 'unknown' | 'active' | 'standby' | 'failed' | 'refused';
  /** Of a portal that failed or is refused; null otherwise. */
  readonly reason: string | null;
}

export interface PoolWarning {
  readonly level: 'warning' | 'critical';
  /** For instance `pool/space`. */
  readonly code: string;
  readonly message: string;
  readonly actions: readonly string[];
}

export interface PoolInfo {
  readonly uuid: string;
  readonly name: string;
  readonly state: 'online' | 'failed';
  /** It was imported to be read: nothing of it is written. */
  readonly readOnly: boolean;
  /** Level-triggered: holds as long as its cause holds. */
  readonly warnings: readonly PoolWarning[];
  readonly clusterBytes: number;
  readonly capacityBytes: number;
  /** Clusters owned by volumes, and the checkpoint's. */
  readonly usedBytes: number;
  readonly freeBytes: number;
  /** Sum of the volumes' sizes. */
  readonly promisedBytes: number;
  /** Kept for metadata: data cannot take it. */
  readonly reserveBytes: number;
  readonly disks: readonly DiskInfo[];
  readonly journalBytes: number;
  readonly journalUsedBytes: number;
  /** How long a disk may fail, or space be missing, before requests fail. */
  readonly patienceSeconds: number;
  readonly createdAt: string;
  /** Another host took the pool over; nothing of it is read or written here. */
  readonly fencedBy?: { readonly host: string | null; readonly epoch: number };
}

export interface CreatePoolOptions {
  readonly clusterBytes?: number;
  readonly patienceSeconds?: number;
  /** Overwrites whatever the disks carry. */
  readonly force?: boolean;
  /** Only checks; nothing is written. */
  readonly dryRun?: boolean;
}

/** What may be changed of a pool that serves. */
export interface PoolSettings {
  readonly patienceSeconds: number;
}

export interface ImportPoolOptions {
  /** Takes the pool although another owner's lease is alive. */
  readonly takeover?: boolean;
  /** Also with disks missing: nothing is written to any disk, and nothing of the pool may be changed. */
  readonly readOnly?: boolean;
  readonly dryRun?: boolean;
}

/** One finding of a check; `where` names disk, layer, slot, key or position. */
export interface CheckFinding {
  readonly severity: 'damage' | 'warning';
  readonly code: string;
  readonly where: string;
  readonly message: string;
}

export interface CheckReport {
  readonly pool: string;
  readonly findings: readonly CheckFinding[];
  readonly clustersChecked: number;
  readonly leavesChecked: number;
  readonly recordsChecked: number;
}

/** Something that happened, for `varve events`; the service gives it an id and a time. */
export interface EventInput {
  readonly kind: string;
  readonly level: 'info' | 'warning' | 'error';
  readonly subject: string;
  readonly message: string;
}

export type EmitEvent = (event: EventInput) => void;

/** Progress of long work, in bytes. */
export type ReportProgress = (
  doneBytes: number,
  totalBytes: number,
  pace?: {
    /** It could go faster, but for guests (governor.ts). */
    readonly isHeldBack: boolean;
  },
) => void;

/** What an open pool does besides holding data. */
export interface PoolActivity {
  readonly pool: string;
  readonly latencies: Latencies;
  /** Of their buckets. */
  readonly latencyBounds: Float64Array;
  readonly background: {
    readonly movedBytes: number;
    /** Infinity: guests do not hold it back. */
    readonly bytesPerSecondMax: number;
  };
  /** Guests' writes that wait for space. */
  readonly heldWriters: number;
}
