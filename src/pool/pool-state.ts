/**
 * PoolState: what the journal's records add up to, in memory, on top of the index.
 *
 * Records are applied in order, live as well as in a replay. Applying is idempotent and synchronous. `freeze` sets aside
 * everything up to one sequence for the fold, so that map, bitmaps, counts and position reach the index as one state.
 * Elsewhere: LevelDB (index-store.ts), the journal's bytes (format/, journal-replay.ts).
 */
import { StorageError } from '../base/errors.ts';
import type { Allocator, ClusterPlace } from './allocator.ts';
import type { DiskSpaceSpec } from './disk-space.ts';
import { type ForeignDiskRecord, isForeign } from './foreign-disk.ts';
import { type BatchOp, type ClusterRun, decodeBatch } from './format/batch.ts';
import { forEachDelta } from './format/delta.ts';
import { hostKey, parseIndexKey, recordKey } from './format/index-keys.ts';
import { decodeDeltasPayload, type JournalRecord, recordKind } from './format/journal-record.ts';
import { slotCluster, slotDisk, slotHasAddress } from './format/slot.ts';
import type { IndexChange } from './index-store.ts';
import { type Generation, Overlay } from './overlay.ts';
import { OwnerWatches } from './owner-watch.ts';

/** How far the journal is applied; stored with the index as `H applied`. */
export interface Applied {
  readonly poolUuid: string;
  /** Of the last record with deltas of the data plane, and the last serial that counts in it. */
  readonly epoch: number;
  readonly serial: number;
  readonly sequence: number;
  /** Ring position behind the last record. */
  readonly position: number;
}

export const appliedKey = hostKey('applied');
/** Names of the records that hold how many clusters a layer owns. */
export const layerSpacePrefix = 'space/';

/** A generation on its way into LevelDB, and what goes with its last batch. */
export interface Frozen {
  readonly generation: Generation;
  readonly trailer: readonly IndexChange[];
  readonly applied: Applied;
}

export class PoolState {
  readonly overlay = new Overlay();
  readonly ownerWatches = new OwnerWatches();
  /** Set during a replay: releases are free at once, and listed here for discarding. */
  replayedReleases: ClusterPlace[] | null = null;
  /** By kind, the part of the name before its "/": there may be tens of thousands of one kind. */
  readonly #records = new Map<string, Map<string, unknown>>();
  /** Their values, of kinds that have not changed since somebody asked. */
  readonly #values = new Map<string, readonly unknown[]>();
  readonly #layerClusters: Map<number, number>;
  readonly #patches = new Map<number, number>();
  readonly #dirtyLayers = new Set<number>();
  #applied: Applied;
  #foldedPosition: number;

  constructor(
    readonly allocator: Allocator,
    loaded: {
      readonly applied: Applied;
      readonly records: Map<string, unknown>;
      readonly layerClusters: Map<number, number>;
    },
  ) {
    this.#applied = loaded.applied;
    for (const [name, value] of loaded.records) this.#kind(name).set(name, value);
    this.#layerClusters = loaded.layerClusters;
    this.#foldedPosition = loaded.applied.position;
  }

  get applied(): Applied {
    return this.#applied;
  }

  /** Journal bytes applied since the last freeze. */
  get unfoldedBytes(): number {
    return this.#applied.position - this.#foldedPosition;
  }

  /** Clusters the layer owns. */
  clustersOf(layer: number): number {
    return this.#layerClusters.get(layer) ?? 0;
  }

  /** How often batches have changed the layer's map in this life. */
  patchesOf(layer: number): number {
    return this.#patches.get(layer) ?? 0;
  }

  record(name: string): unknown {
    return this.#records.get(kindOf(name))?.get(name);
  }

  /** The records of one kind, as `volume` for `volume/7`: the same array until one of them changes. */
  recordsOf(kind: string): readonly unknown[] {
    let values = this.#values.get(kind);
    if (values === undefined) {
      values = [...this.#kind(kind).values()];
      this.#values.set(kind, values);
    }
    return values;
  }

  allRecords(): [name: string, value: unknown][] {
    return [...this.#records.values()].flatMap((records) => [...records]);
  }

  /** @throws StorageError pool/damaged the deltas name clusters that do not exist */
  applyDeltas(deltas: Uint8Array, at: Applied): void {
    const generation = this.overlay.current;
    forEachDelta(deltas, (delta) => {
      const { layer, slot, stateLo, stateHi, zeroMask } = delta;
      generation.setSlot(layer, slot, stateLo, stateHi, zeroMask);
      if (slotHasAddress(delta.stateHi, delta.stateLo)) {
        const cluster = slotCluster(delta.stateHi, delta.stateLo);
        if (this.allocator.use(slotDisk(delta.stateHi), cluster)) this.#count(delta.layer, 1);
      }
      if (slotHasAddress(delta.releasedHi, delta.releasedLo)) {
        const cluster = slotCluster(delta.releasedHi, delta.releasedLo);
        if (this.#release(slotDisk(delta.releasedHi), cluster, at.sequence)) {
          this.#count(delta.layer, -1);
        }
      }
    });
    this.#applied = at;
  }

  /** @throws StorageError pool/damaged the operations name clusters that do not exist, or keys that are no records */
  applyBatch(ops: readonly BatchOp[], at: Applied): void {
    for (const op of ops) this.#applyOp(op, at.sequence);
    this.#applied = at;
  }

  /** Applies a record read from the ring. */
  replay(record: JournalRecord): void {
    const { sequence } = record;
    const position = record.position + record.paddedBytes;
    if (record.kind === recordKind.batch) {
      this.applyBatch(decodeBatch(record.payload), { ...this.#applied, sequence, position });
      return;
    }
    const { firstSerial, deltas } = decodeDeltasPayload(record.payload);
    const { epoch } = record;
    const last = firstSerial === 0 ? 0 : firstSerial + deltas.length / 32 - 1;
    const serial = lastSerial(this.#applied, epoch, last);
    this.applyDeltas(deltas, { ...this.#applied, epoch, serial, sequence, position });
  }

  /** Sets what was applied so far aside for the fold. One at a time, see Overlay. */
  freeze(): Frozen {
    this.#foldedPosition = this.#applied.position;
    const trailer = [
      ...this.allocator.takeChanges(),
      ...this.#layerChanges(),
      this.#appliedChange(),
    ];
    return { generation: this.overlay.freeze(), trailer, applied: this.#applied };
  }

  #applyOp(op: BatchOp, sequence: number): void {
    switch (op.op) {
      case 'put':
        this.#put(op.key, op.value);
        return;
      case 'delete':
        this.#delete(op.key);
        return;
      case 'release':
        forEachCluster(op, (disk, cluster) => this.#release(disk, cluster, sequence));
        return;
      case 'acquire':
        forEachCluster(op, (disk, cluster) => this.allocator.use(disk, cluster));
        return;
      case 'delete-leaves':
        this.overlay.current.clearLeaves(op.layer, op);
        return;
      case 'patch':
        this.overlay.current.patch(op.layer, op.leaf, op.entries);
        this.#patches.set(op.layer, this.patchesOf(op.layer) + 1);
        return;
      case 'count':
        this.#count(op.layer, op.change);
        return;
      case 'seal':
        this.overlay.current.seal(op.layer, op.leaf, op.seals);
    }
  }

  #put(key: Uint8Array, value: Uint8Array): void {
    const name = recordName(key);
    const record = parseRecord(key, value);
    if (isDisk(name) && isForeign(record)) this.allocator.addForeign(foreignSpace(record));
    this.#kind(name).set(name, record);
    this.#values.delete(kindOf(name));
    this.overlay.current.setKey(key, value);
  }

  /** A layer's record takes the count of its clusters with it. */
  #delete(key: Uint8Array): void {
    const name = recordName(key);
    const before = this.record(name);
    if (isDisk(name) && isForeign(before)) this.allocator.removeForeign(before.number);
    this.#kind(name).delete(name);
    this.#values.delete(kindOf(name));
    this.overlay.current.setKey(key, null);
    const layer = /^layer\/(\d+)$/.exec(name)?.[1];
    if (layer === undefined) return;
    this.#layerClusters.delete(Number(layer));
    this.#patches.delete(Number(layer));
    this.#dirtyLayers.add(Number(layer));
  }

  #kind(name: string): Map<string, unknown> {
    const kind = kindOf(name);
    let records = this.#records.get(kind);
    if (records === undefined) {
      records = new Map();
      this.#records.set(kind, records);
    }
    return records;
  }

  #release(disk: number, cluster: number, sequence: number): boolean {
    this.ownerWatches.released({ disk, cluster });
    if (this.replayedReleases === null) return this.allocator.release(disk, cluster, sequence);
    this.replayedReleases.push({ disk, cluster });
    return this.allocator.releaseNow(disk, cluster);
  }

  #count(layer: number, change: number): void {
    this.#layerClusters.set(layer, this.clustersOf(layer) + change);
    this.#dirtyLayers.add(layer);
  }

  #layerChanges(): IndexChange[] {
    const changes = [...this.#dirtyLayers].map((layer) => {
      const clusters = this.#layerClusters.get(layer);
      const key = recordKey(layerSpacePrefix + layer);
      return { key, value: clusters === undefined ? null : encodeJson({ clusters }) };
    });
    this.#dirtyLayers.clear();
    return changes;
  }

  #appliedChange(): IndexChange {
    return { key: appliedKey, value: encodeJson(this.#applied) };
  }
}

/** The last serial that counts in an epoch, behind a record of that epoch with `serial`; 0: its serials do not count. */
export function lastSerial(before: Applied, epoch: number, serial: number): number {
  if (serial !== 0) return serial;
  return before.epoch === epoch ? before.serial : 0;
}

/** The clusters of a foreign disk, all of which its owner may have used. */
export function foreignSpace({ number, foreign }: ForeignDiskRecord): DiskSpaceSpec {
  return { number, firstCluster: 0, clusterCount: foreign.clusterCount };
}

function isDisk(name: string): boolean {
  return kindOf(name) === 'disk';
}

export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), 'utf8');
}

/** @throws StorageError pool/damaged the value is no JSON */
export function parseRecord(key: Uint8Array, value: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(value).toString('utf8'));
  } catch (cause) {
    const name = Buffer.from(key).toString('latin1');
    throw new StorageError('pool/damaged', `record ${name} cannot be read`, { cause });
  }
}

function recordName(key: Uint8Array): string {
  const parsed = parseIndexKey(key);
  if (parsed.kind === 'record') return parsed.name;
  throw new StorageError('pool/damaged', `a batch changes the ${parsed.kind} key of the index`);
}

function kindOf(name: string): string {
  const end = name.indexOf('/');
  return end < 0 ? name : name.slice(0, end);
}

function forEachCluster(run: ClusterRun, visit: (disk: number, cluster: number) => void): void {
  for (let at = 0; at < run.count; at++) visit(run.disk, run.firstCluster + at);
}
