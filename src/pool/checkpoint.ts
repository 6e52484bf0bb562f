/**
 * Checkpoint: the whole index written to the pool's own disks, so that the journal's tail can move.
 *
 *   fold → snapshot → chain on each journal disk → sync → labels → sync → tail moves → old chain is free
 *
 * Until the labels are durable the old label names the old chain and the old tail, both untouched; after that
 * the new ones, both durable. Nothing between matters. Chains live in the reserve, held in memory and by the label only.
 *
 * A replica that is left behind meanwhile is waited for no longer: the checkpoint ends without it. One whose disk fails is left behind, if
 * another remains.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { allEnded } from '../base/all-ended.ts';
import { yieldToOthers } from '../base/clock.ts';
import { isDiskIo, StorageError } from '../base/errors.ts';
import { Mutex } from '../base/mutex.ts';
import type { Allocator } from './allocator.ts';
import { type DiskSet, explained, type LabelChange, type PoolDisk } from './disk-set.ts';
import { type CheckpointBlock, CheckpointWriter } from './format/checkpoint-codec.ts';
import { hostKey, isHostKey } from './format/index-keys.ts';
import type { CheckpointRef } from './format/label.ts';
import type { RingPlace } from './format/ring.ts';
import type { IndexSnapshot, IndexStore } from './index-store.ts';
import { withoutRing } from './label-order.ts';
import type { PoolIndex } from './pool-index.ts';
import { type Applied, encodeJson, parseRecord } from './pool-state.ts';

/** Clusters of each journal disk's chain, by disk number. */
export type Chains = ReadonlyMap<number, readonly number[]>;

/** Told the new tail of the ring. */
export type OnTail = (position: number) => void;

/** A disk on its way to carry a replica, and where its ring is. */
export interface JoiningReplica {
  readonly disk: PoolDisk;
  readonly ring: RingPlace;
}

interface Step {
  readonly applied: Applied;
  readonly onTail: OnTail;
  readonly joining: JoiningReplica | undefined;
}

/** A disk fails to carry its replica: whether it is left behind. Called while the checkpoint can still go on without it. */
export type OnReplicaFailure = (disk: PoolDisk, error: StorageError) => boolean;

const chainsKey = hostKey('checkpoint');
/** As long as a replica has (lost-replicas.ts). */
const lateLabelMs = 2_000;
const clustersPerHold = 16;
/** Blocks written together: about 1 MiB at the default cluster size, then others have their turn. */
const blocksPerStep = 16;

export interface CheckpointParts {
  readonly disks: DiskSet;
  readonly index: PoolIndex;
  readonly allocator: Allocator;
  /** Of the checkpoint that the labels name now. */
  readonly chains: Chains;
}

export class Checkpointer {
  readonly #parts: CheckpointParts;
  readonly #running = new Mutex();
  /** Chains that no label will name, and blocks are still on their way to. */
  readonly #abandoned = new Map<PoolDisk, Promise<void>>();
  /** Whole chains of checkpoints that failed in the end: the disk's label names one of them, or that of `#chains`. */
  #doubtful: readonly ChainInWriting[] = [];
  #chains: Chains;
  #onReplicaFailure: OnReplicaFailure = () => false;
  #stopped = false;

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
    this.#chains = parts.chains;
  }

  /** Without a listener a replica that fails ends the checkpoint. One listener. */
  onReplicaFailure(listener: OnReplicaFailure): void {
    this.#onReplicaFailure = listener;
  }

  /**
   * Writes a checkpoint of everything applied so far.
   *
   * @param onTail told the new tail of the ring once the labels that name it are durable
   * @param joining a disk whose ring the data plane writes already: its label says so with its first checkpoint
   * @throws StorageError pool/full no room for the chain; disk/io; pool/damaged; pool/held another host took the pool over;
   *   pool/failed stopped: the old checkpoint stays
   */
  take(onTail: OnTail = () => {}, joining?: JoiningReplica): Promise<void> {
    return this.#running.run(async () => {
      const { disks } = this.#parts;
      await disks.expectOwned(disks.journals);
      const { snapshot, applied } = await this.#parts.index.foldedSnapshot();
      try {
        await this.#replace(snapshot, { applied, onTail, joining });
      } finally {
        await snapshot.close();
      }
    });
  }

  /**
   * The disk carries neither checkpoint nor ring from now on, durably; the data plane may still write the ring.
   *
   * @throws StorageError disk/io; pool/held another host took the pool over
   */
  leave(disk: PoolDisk): Promise<void> {
    return this.#running.run(async () => {
      const { disks, index } = this.#parts;
      await denyRing(disks, disk);
      this.forget(disk);
      await rememberChains(index.store, disks.label.tailSequence - 1, this.#chains);
    });
  }

  /** No label that counts names a checkpoint on that disk any more, durably: its clusters are free. */
  forget(disk: PoolDisk): void {
    const number = disk.label.diskNumber;
    const rest = new Map(this.#chains);
    const clusters = rest.get(number) ?? [];
    rest.delete(number);
    this.#chains = rest;
    this.#parts.allocator.freeCheckpoint(number, clusters);
    this.#settleDoubts((doubtful) => doubtful === disk);
  }

  /** Nothing is on its way to a chain on that disk any more, which is none of `journals`. */
  async settled(disk: PoolDisk): Promise<void> {
    await this.#abandoned.get(disk);
  }

  /** Nothing is written any more; what is under way ends at its next step. */
  stop(): void {
    this.#stopped = true;
  }

  async #replace(snapshot: IndexSnapshot, step: Step): Promise<void> {
    const { disks, allocator, index } = this.#parts;
    const { applied, joining } = step;
    const replicas = joining === undefined ? disks.journals : [...disks.journals, joining.disk];
    const begun = replicas.map((disk) => new ChainInWriting(disk, allocator, applied));
    const chains = await this.#writeChains(snapshot, begun);
    this.#expectGoing();
    const switched = await this.#switchOrDoubt(begun, chains, step);
    step.onTail(applied.position);
    const old = this.#chains;
    const kept = chains.filter(({ disk }) => !disks.isLeftBehind(disk));
    this.#chains = new Map(kept.map((chain) => [chain.number, chain.clusters]));
    for (const [number, clusters] of old) allocator.freeCheckpoint(number, clusters);
    this.#settleDoubts((disk) => switched.has(disk) || disks.isLeftBehind(disk));
    this.#abandon(begun.filter((chain) => !kept.includes(chain)));
    await rememberChains(index.store, applied.sequence, this.#chains);
  }

  /** From its beginning on some label may name a new chain: when it fails, neither the new chains nor the old ones are given back. */
  async #switchOrDoubt(
    begun: readonly ChainInWriting[],
    chains: readonly ChainInWriting[],
    step: Step,
  ): Promise<ReadonlySet<PoolDisk>> {
    try {
      return await this.#switchLabels(chains, step);
    } catch (error) {
      this.#doubtful = [...this.#doubtful, ...chains];
      this.#abandon(begun.filter((chain) => !chains.includes(chain)));
      throw error;
    }
  }

  /** The labels of these disks are known again, and name none of the chains that were in doubt. */
  #settleDoubts(isKnown: (disk: PoolDisk) => boolean): void {
    const { allocator } = this.#parts;
    const known = this.#doubtful.filter(({ disk }) => isKnown(disk));
    this.#doubtful = this.#doubtful.filter(({ disk }) => !isKnown(disk));
    for (const { number, clusters } of known) allocator.freeCheckpoint(number, clusters);
  }

  #abandon(chains: readonly ChainInWriting[]): void {
    for (const chain of chains) {
      const { disk } = chain;
      const abandoned = Promise.all([this.#abandoned.get(disk), chain.abandon()]).then(() => {
        if (this.#abandoned.get(disk) === abandoned) this.#abandoned.delete(disk);
      });
      this.#abandoned.set(disk, abandoned);
    }
  }

  /** The disk's part in what every replica does. @returns false: it was left behind, see `OnReplicaFailure` */
  async #part(disk: PoolDisk, work: Promise<unknown>): Promise<boolean> {
    try {
      return await this.#parts.disks.whileReplica(disk, work);
    } catch (error) {
      if (!isDiskIo(error) || !this.#onReplicaFailure(disk, error)) throw error;
      return false;
    }
  }

  /** @returns those that are whole and durable; the others' disks were left behind */
  async #writeChains(
    snapshot: IndexSnapshot,
    chains: readonly ChainInWriting[],
  ): Promise<ChainInWriting[]> {
    const { disks } = this.#parts;
    try {
      const written = [...(await this.#writeEntries(snapshot, chains))];
      const syncs = written.map(({ disk }) => this.#part(disk, disks.sync([disk])));
      const durable = await allEnded(syncs);
      return written.filter((_, at) => durable[at]);
    } catch (error) {
      this.#abandon(chains);
      throw error;
    }
  }

  async #writeEntries(
    snapshot: IndexSnapshot,
    chains: readonly ChainInWriting[],
  ): Promise<ReadonlySet<ChainInWriting>> {
    const going = new Set(chains);
    const step = async (chain: ChainInWriting, write: () => Promise<void>) => {
      this.#expectGoing();
      if (!(await this.#part(chain.disk, write()))) going.delete(chain);
    };
    for await (const { key, value } of snapshot.entries()) {
      if (isHostKey(key)) continue;
      for (const chain of going) {
        if (chain.add(key, value)) await step(chain, () => chain.writeStep());
      }
    }
    for (const chain of going) await step(chain, () => chain.finish());
    return going;
  }

  #expectGoing(): void {
    if (this.#stopped) throw new StorageError('pool/failed', 'the pool stopped');
  }

  /** @returns the disks whose labels name the new chains, or none */
  async #switchLabels(
    chains: readonly ChainInWriting[],
    { applied, joining }: Step,
  ): Promise<ReadonlySet<PoolDisk>> {
    const references = new Map(chains.map((chain) => [chain.number, chain.reference]));
    const { disks } = this.#parts;
    const change = (disk: PoolDisk) => ({
      tailPosition: applied.position,
      tailSequence: applied.sequence + 1,
      checkpoint: references.get(disk.label.diskNumber) ?? null,
      ...(disk === joining?.disk ? joining.ring : {}),
    });
    // No replica is left out, be it given up or not: its label would name a chain that is free.
    const replicas = new Set([...chains.map(({ disk }) => disk), ...disks.journals]);
    const others = disks.answering.filter((disk) => !replicas.has(disk));
    const switched = new Set(replicas);
    await allEnded([
      ...[...replicas].map((disk) => this.#switchReplica(disk, change)),
      ...others.map(async (disk) => {
        const written = disks.whileReplica(disk, disks.writeLabel(disk, change));
        if (await unlessSilent(written)) switched.add(disk);
      }),
    ]);
    return switched;
  }

  /** Waited for with its patience only when no other replica remains. */
  async #switchReplica(disk: PoolDisk, change: LabelChange): Promise<void> {
    const { disks } = this.#parts;
    try {
      await this.#part(disk, disks.writeLabel(disk, change));
    } catch (error) {
      if (!isDiskIo(error)) throw error;
      await this.#part(disk, disks.writeLabels(change, [disk]));
    }
  }
}

/** A label of a disk without a replica may lag behind, or come later. @returns false when it does */
async function unlessSilent(written: Promise<boolean>): Promise<boolean> {
  const ended = new AbortController();
  const late = delay(lateLabelMs, false, { ref: false, signal: ended.signal });
  try {
    return await Promise.race([written, late]);
  } catch (error) {
    if (!isDiskIo(error)) throw error;
    return false;
  } finally {
    ended.abort();
  }
}

/** One disk's new chain: clusters are held as the payload grows, the rest is given back at its end. */
class ChainInWriting {
  readonly #allocator: Allocator;
  readonly #writer: CheckpointWriter;
  readonly #clusters: number[] = [];
  #blocks = 0;
  #step: CheckpointBlock[] = [];
  /** The newest step, ended somehow. */
  #written: Promise<unknown> = Promise.resolve();

  constructor(
    readonly disk: PoolDisk,
    allocator: Allocator,
    applied: Applied,
  ) {
    this.#allocator = allocator;
    this.#writer = new CheckpointWriter({
      clusterBytes: disk.label.clusterBytes,
      sequence: applied.sequence,
      clusters: this.#clusters,
    });
  }

  get number(): number {
    return this.disk.label.diskNumber;
  }

  get clusters(): readonly number[] {
    return this.#clusters;
  }

  get reference(): CheckpointRef {
    return this.#writer.reference;
  }

  /** @returns whether a step is full and `writeStep` is due */
  add(key: Uint8Array, value: Uint8Array): boolean {
    this.#holdFor(key.length + value.length);
    this.#take(this.#writer.add(key, value));
    return this.#step.length >= blocksPerStep;
  }

  async finish(): Promise<void> {
    this.#holdFor(0);
    this.#take([this.#writer.finish()]);
    await this.writeStep();
    const unused = this.#clusters.splice(this.#blocks);
    this.#allocator.freeCheckpoint(this.number, unused);
  }

  async writeStep(): Promise<void> {
    const { plane, label } = this.disk;
    const blocks = this.#step;
    this.#step = [];
    const written = explained(this.disk, () =>
      allEnded(blocks.map((block) => plane.write(block.cluster * label.clusterBytes, block.bytes))),
    );
    this.#written = written.catch(() => {});
    await written;
    await yieldToOthers();
  }

  /** Gives every cluster back, when nothing is on its way there; the chain is named by no label that counts. */
  async abandon(): Promise<void> {
    await this.#written;
    this.#allocator.freeCheckpoint(this.number, this.#clusters.splice(0));
  }

  #take(blocks: readonly CheckpointBlock[]): void {
    this.#blocks += blocks.length;
    this.#step.push(...blocks);
  }

  /** An entry may end one cluster, fill some, and begin another, whose header names its successor. */
  #holdFor(entryBytes: number): void {
    const needed = this.#blocks + Math.ceil(entryBytes / this.disk.label.clusterBytes) + 3;
    while (this.#clusters.length < needed) {
      this.#clusters.push(...this.#allocator.holdForCheckpoint(this.number, clustersPerHold));
    }
  }
}

/** In both copies: an older one that comes to light would show a ring that lags behind. @throws StorageError disk/io, pool/held */
export async function denyRing(disks: DiskSet, disk: PoolDisk): Promise<void> {
  await disks.writeLabels(() => withoutRing, [disk]);
  await disks.writeLabels(() => withoutRing, [disk]);
}

/** Host-local, so that the next opening need not walk the chains. */
async function rememberChains(store: IndexStore, sequence: number, chains: Chains): Promise<void> {
  await store.write([{ key: chainsKey, value: encodeJson({ sequence, chains: [...chains] }) }]);
}

/** The chains of the checkpoint at `sequence`, when this host wrote them. @throws StorageError pool/damaged */
export async function rememberedChains(
  store: IndexStore,
  sequence: number,
): Promise<Chains | undefined> {
  const value = await store.get(chainsKey);
  if (value === undefined) return undefined;
  const remembered = parseRecord(chainsKey, value) as {
    sequence: number;
    chains: [number, number[]][];
  };
  return remembered.sequence === sequence ? new Map(remembered.chains) : undefined;
}
