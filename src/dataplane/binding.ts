/**
 * The native addon: the only file that loads it, and the exact shape of what it exports.
 *
 * Verbs return at once; they validate nothing (data-plane.ts names, defaults and checks) but handles: one that is not open throws. A verb that takes a
 * `token` ends with one `done` event carrying it. All events come in batches through the one
 * callback given to `start`, in the order in which the data plane made them.
 *
 * Handles (disk, pool, volume, listener) are small positive integers, never reused within a process (but by the
 * next simulation).
 */
import { createRequire } from 'node:module';

export type Token = number;
export type Handle = number;

export interface StartOptions {
  readonly loops: number;
  /** `simulated`: no thread and no clock, see `simulationState`. */
  readonly backend: 'auto' | 'io_uring' | 'epoll' | 'simulated';
  /** Upper bound of request payload memory, all connections together. */
  readonly bufferBytes: number;
  /** Upper bound of page-table memory, all volumes together. */
  readonly mapBytes: number;
}

/** A path on an NFS server. */
export interface NfsSpec {
  /** A name or an address; an IPv6 address stands in brackets. */
  readonly host: string;
  readonly path: string;
  readonly version: 3 | 4;
  /** 0: 2049. */
  readonly nfsPort: number;
  /** Of mountd, v3; 0: asked of rpcbind. */
  readonly mountPort: number;
}

/** A LUN of an iSCSI target. */
export interface IscsiSpec {
  /** Hosts as in `NfsSpec`. */
  readonly portals: readonly { readonly host: string; readonly port: number }[];
  readonly target: string;
  readonly lun: number;
  /** Our own name. */
  readonly initiator: string;
  /** CHAP. */
  readonly user?: string;
  readonly secret?: string;
}

/** What an iSCSI portal offers. */
export interface FoundTarget {
  readonly target: string;
  /** As the target tells them: host:port. */
  readonly portals: readonly string[];
  /** errno (0 = ok) and reason of a refused login; then there are no LUNs. */
  readonly error: number;
  readonly message: string;
  readonly luns: readonly FoundLun[];
}

export interface FoundLun {
  readonly lun: number;
  /** errno (0 = ok) and reason why it cannot be a disk. */
  readonly error: number;
  readonly message: string;
  readonly sizeBytes: number;
  readonly thin: boolean;
  readonly readOnly: boolean;
  readonly vendor: string;
  readonly product: string;
}

/** One way to a disk that may have several: a portal. */
export interface DiskPath {
  readonly portal: string;
  /** `standby`: answered when last looked at. `refused`: answers, but shows another disk. */
  readonly state: 'unknown' | 'active' | 'standby' | 'failed' | 'refused';
  /** Of `failed` and `refused`: errno (else 0), and what failed and why. */
  readonly error: number;
  readonly message: string;
}

/**
 * `file` serves regular files and block devices, `nfs` a file on a server, `iscsi` a LUN, `nbd` what another server exports; `absent` stands for a disk that cannot be had,
 * `patient` waits out the faults of any. The others exist for tests.
 */
export interface DiskSpec {
  readonly kind:
    | 'file'
    | 'nfs'
    | 'iscsi'
    | 'nbd'
    | 'absent'
    | 'patient'
    | 'memory'
    | 'recording'
    | 'fault'
    | 'gated';
  readonly nfs?: NfsSpec;
  readonly iscsi?: IscsiSpec;
  /**
   * `file`: opened read-write with O_CLOEXEC and locked (flock); EWOULDBLOCK when another process holds it. `nbd`: the unix socket of
   * the server, whose default export is only read.
   */
  readonly path?: string;
  readonly readOnly?: boolean;
  /** `file`, read-only: not shared with other readers, and a block device must not be mounted. */
  readonly alone?: boolean;
  /**
   * `absent`, `memory`, `recording`: size of the new disk. `nbd`: the server need not be there yet, is dialed for when something is asked, and not read if it
   * has another size.
   */
  readonly sizeBytes?: number;
  /** `fault`, `gated`, `patient`: the disk wrapped (still to be closed by its own handle). */
  readonly inner?: Handle;
  /** `patient`: how long it may fail before what it holds is failed; 0 passes everything on. */
  readonly patienceMs?: number;
}

/** Of a `patient` disk (native/io/patient_disk.h). */
export interface DiskCondition {
  readonly state: 'online' | 'suspended' | 'failed';
  /** errno of the newest failure, 0 when online, and what failed in words. */
  readonly error: number;
  readonly message: string;
  readonly failingMs: number;
  /** While suspended. */
  readonly patienceLeftMs: number;
  /** Operations that wait for the disk. */
  readonly held: number;
}

export interface PoolSpec {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly epoch: number;
  readonly clusterBytes: number;
  readonly disks: readonly { readonly handle: Handle; readonly number: number }[];
  readonly journal: {
    /** Disks that carry a replica, with the ring's byte offset. */
    readonly replicas: readonly { readonly number: number; readonly offset: number }[];
    readonly bytes: number;
    /** Monotonic positions; the next record goes to `head` with `sequence`. */
    readonly head: number;
    readonly tail: number;
    readonly sequence: number;
  };
  /** docs/format.md section 7; created anew. Empty string: keep it in anonymous memory (tests). */
  readonly pendingLogPath: string;
  /** Rule 8: unflushed writes become durable within this. */
  readonly flushWindowMs: number;
}

export interface VolumeSpec {
  /** The head; 0 for a volume that is only read: everything is inherited. */
  readonly layer: number;
  readonly sizeBytes: number;
  /** True when no leaf exists, in no layer of the chain: no region will be asked for. */
  readonly empty: boolean;
  /** Old content moves away (`cow-wanted`) before it is overwritten in its place. */
  readonly copyOnWrite: boolean;
  /** Of the grant that its new clusters come from. */
  readonly grantGroup: number;
}

/** The map of one region, slots [region·4096, +4096); states are pairs of words (lo, hi). */
export interface RegionAnswer {
  /** The head's own states. */
  readonly own: Uint32Array;
  /** The head's zero masks; null when all are 0. */
  readonly zeros: Uint16Array | null;
  /** What the slots resolve to below the head; null when nothing is there. */
  readonly below: Uint32Array | null;
  /**
   * Slots whose sub-blocks come from several clusters below: 33 words each, the slot within the region and sixteen addresses (lo, hi;
   * mask bits zero; 0 = reads as zero). Their `below` state is ignored.
   */
  readonly splits: Uint32Array | null;
  /** Regions (region, emptyThrough] hold nothing at all. */
  readonly emptyThrough: number;
  /** The newest record the answer reflects; an answer older than what was changed and evicted since is not taken. */
  readonly sequence: number;
}

/** A context of NBD's block status besides base:allocation: extents with flag 1 inside the runs, 0 elsewhere. */
export interface ChangedContext {
  readonly name: string;
  /** offset, length, offset, length, … in bytes, ascending, not touching each other. */
  readonly runs: Float64Array;
}

export interface ExportSpec {
  readonly name: string;
  readonly description: string;
  readonly readOnly: boolean;
  /** The same in two processes that serve the same bytes one after the other; absent: no other process ever does. */
  readonly identity?: string;
  /** Offered to clients that ask for them; they describe content that does not change. */
  readonly contexts?: readonly ChangedContext[];
}

/** What became of the clients that another process had left. */
export interface AdoptedClients {
  readonly clients: number;
  readonly refused: readonly {
    readonly export: string;
    readonly address: string;
    readonly reason: string;
  }[];
}

export type DataPlaneEvent =
  /** `error` is an errno (0 = ok), `message` what failed. `value`: a handle, or a size, or what the verb documents. */
  | {
      kind: 'done';
      token: Token;
      error: number;
      message: string;
      value: number;
      data?: Uint8Array;
      targets?: readonly FoundTarget[];
    }
  /** One journal record became durable; `deltas` (32 bytes each, format.md section 4) for kind 1, the batch's token for kind 2. Also `head`: the ring position behind it. */
  | {
      kind: 'durable';
      pool: Handle;
      sequence: number;
      head: number;
      /** Serial of the last delta in it; 0 for batches. */
      serial: number;
      deltas?: Uint8Array;
      token?: Token;
    }
  /** Clusters released by records up to `sequence` can no longer be reached by any request. */
  | { kind: 'safe'; pool: Handle; sequence: number }
  | { kind: 'region-wanted'; volume: Handle; region: number }
  /** A writer waits to overwrite inherited content of the slot, which is locked: answered by `unlockSlots` or `failSlot`. The head has no cluster there; `zero` is its zero mask. `era`: how often the map was forgotten (`swapHead`) before; of an earlier era it is void. */
  | { kind: 'cow-wanted'; volume: Handle; slot: number; zero: number; era: number }
  | { kind: 'grant-low'; pool: Handle; group: number; clusters: number }
  /** A guest's write is held for want of space, and no other of its group is. */
  | { kind: 'writer-held'; pool: Handle }
  /** The journal cannot take a record until `journalTrim`: writers of new space wait. */
  | { kind: 'journal-full'; pool: Handle }
  /** A round of the journal waits for these replicas, told again as long as it does; `endReplica` lets it go on without one. */
  | { kind: 'replicas-lag'; pool: Handle; replicas: readonly LaggingReplica[] }
  /** The paths of an iSCSI disk, all of them; the first time before the disk's opening is `done`. */
  | { kind: 'disk-paths'; disk: Handle; paths: readonly DiskPath[] }
  /** A `patient` disk changed its state. */
  | ({ kind: 'disk-condition'; disk: Handle } & DiskCondition)
  | { kind: 'disk-error'; pool: Handle; disk: number; error: number; message: string }
  /** The pool refuses writes from now on (failed sync or journal write). */
  | { kind: 'pool-failed'; pool: Handle; error: number; message: string }
  /** Nothing is said to the pool any more; the end of `closePool` follows. */
  | { kind: 'pool-closed'; pool: Handle }
  | { kind: 'client-connected'; client: number; export: string; address: string }
  | { kind: 'client-disconnected'; client: number; export: string; reason: string };

/** A disk whose ring lacks a record that another has. */
export interface LaggingReplica {
  readonly disk: number;
  /** errno; 0: it has not answered for two seconds. */
  readonly error: number;
}

export type CopyOutMode = 'data' | 'all' | 'compare';

export interface VolumeStats {
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly discards: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly discardBytes: number;
  readonly errors: number;
  readonly mapBytes: number;
}

export interface ClientStats {
  readonly client: number;
  readonly export: string;
  readonly address: string;
  readonly connectedAtMs: number;
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly inFlight: number;
}

/** Which operation goes wrong, and how (native/io/fault_rules.h). */
export interface FaultRule {
  readonly op: 'read' | 'write' | 'sync' | 'discard' | 'zero' | 'any';
  readonly kind: 'delay' | 'error' | 'short' | 'hang' | 'flip' | 'lie';
  /** errno of `error` and `short`; EIO unless given. */
  readonly error?: number;
  /** Lets so many matching operations pass, then meets `times` of them (0: all that follow). */
  readonly after?: number;
  readonly times?: number;
  readonly delayMs?: number;
}

/** An operation on a `gated` disk (native/io/gated_disk.h). */
export interface GatedOperation {
  readonly id: number;
  /** The gated one. */
  readonly disk: Handle;
  readonly op: 'read' | 'write' | 'sync' | 'discard' | 'zero';
  /** It comes back from the disk below; else it is on its way there. */
  readonly performed: boolean;
  readonly offset: number;
  readonly bytes: number;
}

/** Of a data plane whose loops are simulated (native/io/simulated_loop.h). */
export interface SimulationState {
  readonly busyLoops: readonly number[];
  /** Not told yet. */
  readonly events: number;
  /** In the order in which they came. */
  readonly operations: readonly GatedOperation[];
  /** Of bootTimeMs; null: none is armed. */
  readonly nextTimerMs: number | null;
}

export interface Addon {
  readonly abi: number;
  /** Starts the loops. Throws with the reason when the backend cannot be had. Returns the backend's name. */
  start(options: StartOptions, onEvents: (batch: DataPlaneEvent[]) => void): string;
  /** Stops the loops; everything must be closed. */
  stop(): void;

  /**
   * value: handle. `data`: u64 LE size in bytes; of a network disk then, as UTF-8, what is the same for every way to the same disk.
   * A network disk opened read-only shares the disk with everybody.
   */
  openDisk(token: Token, spec: DiskSpec): void;
  /** Asks the first portal; target and LUN do not matter. `targets`: what it offers. */
  scanIscsi(token: Token, spec: IscsiSpec): void;
  closeDisk(token: Token, disk: Handle): void;
  /** Makes a sparse file that was not there (EEXIST); none is left when it fails. */
  createNfsFile(token: Token, spec: NfsSpec, sizeBytes: number): void;
  /** A file that is not there is removed already. */
  removeNfsFile(token: Token, spec: NfsSpec): void;
  /** data: per entry 1 byte (1: a folder), u64 LE size in bytes, the name, a zero byte. `spec.path` is not looked at. */
  listNfsExports(token: Token, spec: NfsSpec): void;
  /** Files and folders in the folder `spec.path`; data as of `listNfsExports`. */
  listNfsFolder(token: Token, spec: NfsSpec): void;
  /** value: how large the disk is now, in bytes; it may be used up to there. */
  diskMeasure(token: Token, disk: Handle): void;
  /** Of a `patient` disk, from now on, also for what it holds. */
  diskPatience(disk: Handle, patienceMs: number): void;
  /** A `patient` disk that is about to be closed holds nothing any more: what it holds fails now. */
  diskSurrender(disk: Handle): void;
  diskCondition(disk: Handle): DiskCondition;
  /** data: the bytes. */
  diskRead(token: Token, disk: Handle, offset: number, length: number): void;
  diskWrite(token: Token, disk: Handle, offset: number, data: Uint8Array): void;
  diskSync(token: Token, disk: Handle): void;
  /**
   * Writes a label and syncs it, whatever the disk's lease says; ETIME when it could not be given to the disk before `untilMs` of
   * `bootTimeMs`.
   */
  diskWriteLabel(
    token: Token,
    disk: Handle,
    offset: number,
    label: Uint8Array,
    untilMs: number,
  ): void;
  /** runs: offset, length, offset, length, … in bytes. */
  diskDiscard(token: Token, disk: Handle, runs: Float64Array): void;
  /** The range reads as zero. */
  diskZero(token: Token, disk: Handle, offset: number, length: number): void;
  /** Where there may be something other than zeroes. value: how much of the range was looked through; data: u64 LE pairs (offset, bytes). */
  diskFindData(token: Token, disk: Handle, offset: number, length: number): void;

  /** CLOCK_BOOTTIME: goes on while the machine sleeps or the process is stopped; nobody sets it. */
  bootTimeMs(): number;
  /** A lease that holds until that moment of `bootTimeMs`; returns its handle. */
  openLease(untilMs: number): Handle;
  /** From now on everything but labels is held back on the disk while the lease does not hold (native/io/leased_disk.h). */
  leaseDisk(lease: Handle, disk: Handle): void;
  /** It holds until then, unless it did for longer already; what was held back goes on. */
  renewLease(lease: Handle, untilMs: number): void;
  /** Final: what is held back gets EIO, and so does what comes. `fenced`: reads too. */
  endLease(lease: Handle, fenced: boolean): void;
  /** The handle is gone; disks that heed the lease go on doing so. */
  closeLease(lease: Handle): void;

  /** value: handle. */
  openPool(token: Token, spec: PoolSpec): void;
  addPoolDisk(pool: Handle, disk: Handle, number: number): void;
  /** Nothing lies on the disk, nothing of it is granted, it carries no replica. Done when nobody has it in hand: it may be closed. */
  removePoolDisk(token: Token, pool: Handle, number: number): void;
  /**
   * The disk gets what the journal's ring holds, between two rounds, durably, and every record from then on. After an error it carries
   * no replica. `offset`: of the ring on it. EBUSY: what an ended replica has not answered yet is still on its way there.
   */
  beginReplica(token: Token, pool: Handle, number: number, offset: number): void;
  /**
   * The ring on that disk, which need not carry one, is not written any more; a round that waits for it goes on. Another disk carries one.
   * Done when nothing is on its way to that ring.
   */
  endReplica(token: Token, pool: Handle, number: number): void;
  /** Everything of the pool must be closed; makes what is pending durable first. `pool-closed` precedes `done`. */
  closePool(token: Token, pool: Handle): void;
  /** Appends one record of that kind (2: batch) in order; done when durable, value: its sequence. A `durable` event precedes `done`. */
  journalAppend(token: Token, pool: Handle, kind: 2, payload: Uint8Array): void;
  /** Records before `tail` are no longer needed: call after the label that says so is durable. */
  journalTrim(pool: Handle, tail: number): void;
  /** disk number, first cluster, count, … ; lifts an earlier `grantExhausted` of the group. Groups are 0 to 63. */
  grant(pool: Handle, runs: Float64Array, group: number): void;
  /** Takes everything of one disk away again that nobody uses, what open volumes set aside for themselves too; as in `grant`. */
  takeBackDisk(pool: Handle, number: number): Float64Array;
  /**
   * There is nothing left to grant until the next `grant`: allocations from the group fail with ENOSPC. `hold`: those of guests wait instead, until
   * this is called without it.
   */
  grantExhausted(pool: Handle, group: number, hold: boolean): void;
  /** Requests of guests that are held for want of space. */
  heldWriters(pool: Handle): number;
  /**
   * Stops the pool as a failed sync does: beyond what was submitted already nothing of it is written, writes and flushes get EIO.
   * `fenced`: the pool is another's now; reads are refused too, what lies under the map may be another volume's.
   */
  failPool(pool: Handle, error: number, fenced: boolean): void;
  /** Makes everything written so far durable. */
  poolFlush(token: Token, pool: Handle): void;

  /** value: handle. */
  openVolume(token: Token, pool: Handle, spec: VolumeSpec): void;
  /** Waits for what is in flight; the volume must not be exported. Deltas of it may still come as `durable` before `done`. */
  closeVolume(token: Token, volume: Handle): void;
  resizeVolume(volume: Handle, sizeBytes: number): void;
  /** Answers `region-wanted`; what the answer holds is copied before the call returns. */
  installRegion(volume: Handle, region: number, answer: RegionAnswer): void;
  /** The map could not be read: whoever waits for the region gets EIO. */
  regionFailed(volume: Handle, region: number): void;
  /** Allocates every cluster of the range without writing it (WRITE_ZEROES with NO_HOLE). */
  volumeProvision(token: Token, volume: Handle, offset: number, length: number): void;
  /** Control-plane I/O, never the serving path. data: the bytes read. */
  volumeRead(token: Token, volume: Handle, offset: number, length: number): void;
  volumeWrite(token: Token, volume: Handle, offset: number, data: Uint8Array, fua: boolean): void;
  volumeZero(token: Token, volume: Handle, offset: number, length: number, trim: boolean): void;
  volumeFlush(token: Token, volume: Handle): void;
  /** data: extents as u64 LE pairs (length, flags). */
  volumeMap(token: Token, volume: Handle, offset: number, length: number): void;
  /**
   * Writes a range of a volume that does not change to the same place of a disk outside of its pool, or compares the two (EILSEQ where
   * they differ). `data`: what reads as zero is left as it is; `all`: it is zeroed. Nothing is synced.
   */
  volumeCopyOut(
    token: Token,
    volume: Handle,
    disk: Handle,
    offset: number,
    length: number,
    mode: CopyOutMode,
  ): void;
  volumeStats(volume: Handle): VolumeStats;

  /** New writes and trims wait from now on; done when those under way have ended. Reads and flushes go on. */
  holdVolume(token: Token, volume: Handle): void;
  /**
   * The held volume goes on with another, empty head. `inherit`: what the old head owned is inherited from now on; otherwise all
   * that is known of the map is forgotten and asked for again.
   */
  swapHead(volume: Handle, layer: number, inherit: boolean): void;
  /** Lets those who wait go on. */
  resumeVolume(volume: Handle): void;
  setCopyOnWrite(volume: Handle, on: boolean): void;
  /** Its new clusters come from that group of the grant from now on. */
  setGrantGroup(volume: Handle, group: number): void;
  /**
   * Slots [first, first + count) of one region: waits for writes under way that change them, then keeps everybody from changing
   * their state (overwriting owned sub-blocks in place goes on). data: count u64 LE states of the head, then count u16 LE zero masks.
   */
  lockSlots(token: Token, volume: Handle, first: number, count: number): void;
  /**
   * Ends a lock. `patches`: four words per slot of which the head or a layer below was changed, durably: its distance from `first`, lo,
   * hi, zero mask of the head's state now (new or not). `forgetBelow`: the head has no parent any more, so that what those slots own hides nothing.
   */
  unlockSlots(
    volume: Handle,
    first: number,
    count: number,
    patches: Uint32Array,
    forgetBelow: boolean,
  ): void;
  /** Ends the lock of a slot for which copy on write was wanted and could not be done: writers get the error. */
  failSlot(volume: Handle, slot: number, error: number): void;
  /**
   * Five numbers per move: slot, old disk and cluster, new disk and cluster. Where the volume's slot resolves to the old cluster below its
   * head, reads go to the new one from now on; regions that are not present are left alone.
   */
  repoint(volume: Handle, moves: Float64Array): void;
  /**
   * Gives slots of the head, all of one region, other clusters with their content; moves as in `repoint`, the new clusters belonging to
   * nobody. `holdWriters`: writers of these slots wait until the end. data: one byte per move: 0 moved, by a delta; 1 busy: written or locked
   * meanwhile; 2 gone: not at its old place. After an error nothing was moved, unless the pool has failed.
   */
  relocate(token: Token, volume: Handle, moves: Float64Array, holdWriters: boolean): void;
  /**
   * How many requests of guests took how long, since the pool was opened: of reads, of writes, of flushes and FUA, each as many counts as
   * there are bounds, then the seconds of all together.
   */
  poolLatencies(pool: Handle): Float64Array;
  /** Seconds; ascending. The count at a place is of what took less than the bound there, and not less than the one before. */
  latencyBounds(): Float64Array;
  /** Copies, of clusters that move too, go in small pieces, one at a time; or in large ones, several at once. From the next copy on. */
  setCopyEffort(pool: Handle, gentle: boolean): void;
  /**
   * Copies between the disks of a pool, or from those of one to those of another. runs: source disk, source offset, target disk, target
   * offset, bytes, … The next round of `target` syncs what was written. Both pools stay open until the end.
   */
  copyRuns(token: Token, source: Handle, target: Handle, runs: Float64Array): void;
  /**
   * Reads sub-blocks of clusters and hashes them, with the effort of copies. clusters: disk, cluster, mask of its sub-blocks, … data: of each
   * u64 LE XXH64 (seed 0) of those sub-blocks, ascending, then u64 LE errno, 0 when they could be read. The pool stays open until the end.
   */
  hashClusters(token: Token, pool: Handle, clusters: Float64Array): void;
  /** Done when every request admitted before has ended. */
  grace(token: Token, pool: Handle): void;

  /** Listens on a unix socket path or on host and port; value: handle. Port 0 picks one; `data`: u64 LE the port. */
  listen(token: Token, spec: { path?: string; host?: string; port?: number }): void;
  closeListener(token: Token, listener: Handle): void;
  /** Exports are reachable through every listener named in `listeners`. */
  addExport(volume: Handle, listeners: readonly Handle[], spec: ExportSpec): void;
  /** As `addExport`: a whole disk as it is. */
  addDiskExport(disk: Handle, listeners: readonly Handle[], spec: ExportSpec): void;
  /**
   * New clients are refused at once; connected ones finish what is in flight and are closed. `abort`: nothing is answered any more.
   * value: how many there were.
   */
  removeExport(token: Token, name: string, abort: boolean): void;
  /** Requests of the export's clients wait from now on; done when its target has none of them any more. */
  pauseExport(token: Token, name: string): void;
  /** They go on, to `volume` in place of what was served until now unless it is null; done when nothing reaches that any more. */
  resumeExport(token: Token, name: string, volume: Handle | null): void;
  clients(): ClientStats[];

  /** Stops accepting; the socket goes on listening, and is left to the next process. */
  parkListener(token: Token, listener: Handle): void;
  /** Clients whose exports have an identity are left as they are once they are answered, others closed; done when none is left. */
  parkClients(token: Token): void;
  /** Sends what was parked to the datagram socket `address` and closes it here. value: how many clients. */
  bequeath(token: Token, address: string): void;
  /**
   * Takes what the supervisor has stored, by name, instead of what was inherited before, which is closed; the descriptors are
   * closed too when it throws. Before the first `listen`.
   */
  inherit(stored: Readonly<Record<string, number>>): void;
  /** @returns a descriptor for `receiveSuccession`, which closes it */
  openMailbox(path: string): number;
  /** Waits for what another process bequeaths; an error ECANCELED when "END=1" came instead. */
  receiveSuccession(token: Token, mailbox: number, timeoutMs: number): void;
  /** Inherited clients go on where their export is the same; listeners accept from now on. */
  adoptClients(): AdoptedClients;
  /** One datagram to the socket `address`, "@name" in the abstract namespace. */
  sendText(token: Token, address: string, text: string): void;
  /** Has the supervisor forget what it stored under those names; done when it has. */
  forgetStored(token: Token, address: string, names: readonly string[]): void;

  /** Tests: the present moment, one order for all recording disks. */
  recordingMoment(): number;
  /**
   * Tests: the state a power cut at moment `cut` may have left of a `recording` disk, as a new memory disk of that size; what becomes of what
   * was not synced is chosen by `headSeed` below `headBytes`, and by `seed` elsewhere (native/io/write_log.h). `digest` is the same for equal
   * states and no others.
   */
  recordingCut(
    disk: Handle,
    cut: number,
    seed: number,
    headBytes: number,
    headSeed: number,
  ): { readonly disk: Handle; readonly digest: bigint };
  /** Tests: the bytes of a disk that `recordingCut` has left, at once; and so the following ones. */
  memoryRead(disk: Handle, offset: number, length: number): Uint8Array;
  memoryWrite(disk: Handle, offset: number, data: Uint8Array): void;
  memoryClose(disk: Handle): void;
  /** `ranges`: place of the disk among `disks`, offset, bytes, …; the same for equal bytes in equal ranges and no others. */
  memoryDigest(disks: Uint32Array, ranges: Float64Array): bigint;
  /** A new memory disk: as `below`, but for `ranges` (offset, bytes, …), which are as on `above`. */
  memoryLaidOver(above: Handle, below: Handle, ranges: Float64Array): Handle;
  /**
   * Compares what `runs` show with what is expected: sectors in ascending order, each run with its first sector, the place of its disk among
   * `disks`, the first sector there, and how many; all others are zeroes. @returns the sectors that differ, and what they show;
   * null: there are none
   */
  memoryDiffering(
    disks: Uint32Array,
    runs: Uint32Array,
    expected: Uint8Array,
  ): { readonly sectors: Uint32Array; readonly bytes: Uint8Array } | null;
  /** Tests: replaces the rules of a `fault` disk and lets go of what hangs. */
  faultSet(disk: Handle, rules: readonly FaultRule[]): void;

  /** Simulations: what could happen next. Nothing does, and no time passes, but by the verbs below. */
  simulationState(): SimulationState;
  /** A busy loop does what it has. */
  simulationTurn(loop: number): void;
  /** The first `count` events reach the listener given to `start`, before this returns. */
  simulationTell(count: number): void;
  /** A waiting operation goes on its way, to the disk below or back. */
  simulationLetGo(operation: number): void;
  /** All clocks of the data plane. */
  simulationAdvance(ms: number): void;
}

/** The addon's interface version this code was written for; checked before anything else is called. */
export const addonAbi = 10;

/** Another build of it, as tests under a sanitizer need (tools/test/sanitized-addon.mjs). */
const addonPath = process.env.VARVE_ADDON ?? '../../build/Release/varve.node';

/** Loads the addon. @throws Error when it was not built or is of another version. */
export function loadAddon(): Addon {
  const require = createRequire(import.meta.url);
  const addon = require(addonPath) as Addon;
  if (addon.abi !== addonAbi) {
    throw new Error(
      `native addon is version ${addon.abi}, ${addonAbi} is needed: run npm run build`,
    );
  }
  return addon;
}
