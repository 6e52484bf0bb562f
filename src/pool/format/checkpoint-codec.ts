/**
 * Checkpoints: the whole index as a chain of clusters (docs/format.md section 6).
 *
 *   label → | 32-byte header, entries … | → | header, … entries | → 0
 *
 * Entries run on from cluster to cluster. Each cluster proves itself, the label's hash proves the whole; what a reader
 * yields before its end is proven cluster by cluster, completeness only when it ends.
 */
import { invariant } from '../../base/errors.ts';
import { readU64, viewOf, writeU64 } from './bytes.ts';
import { EntryParser, encodeEntry, type IndexEntry } from './checkpoint-entry.ts';
import { expectFormat, FormatError } from './format-error.ts';
import { xxh64Stream, xxh64WithoutField } from './hash.ts';
import { isHostKey } from './index-keys.ts';
import type { CheckpointRef, Label } from './label.ts';
import type { ReadDisk } from './ring.ts';

const magic = 0x31504b43;
export const checkpointHeaderBytes = 32;
const at = { payloadBytes: 4, sequence: 8, next: 16, hash: 24 } as const;

export type { IndexEntry } from './checkpoint-entry.ts';

/** A cluster of the chain, to be written whole at `cluster * clusterBytes`. */
export interface CheckpointBlock {
  readonly cluster: number;
  readonly bytes: Uint8Array;
}

export interface CheckpointWriterOptions {
  readonly clusterBytes: number;
  readonly sequence: number;
  /** Where the chain may lie, in its order; more than needed is fine. */
  readonly clusters: readonly number[];
}

/** Clusters that a payload takes; an empty one takes one too. */
export function checkpointClusters(payloadBytes: number, clusterBytes: number): number {
  return Math.max(1, Math.ceil(payloadBytes / (clusterBytes - checkpointHeaderBytes)));
}

/**
 * Cuts entries into clusters of one disk's chain. Feed `add` in key order, write every block it returns, then the
 * one of `finish`; `reference` goes into the label. Host-local keys are left out.
 */
export class CheckpointWriter {
  readonly #options: CheckpointWriterOptions;
  readonly #hash = xxh64Stream();
  #payload: Uint8Array;
  #filled = 0;
  #payloadBytes = 0;
  #blocks = 0;
  #previousKey: Uint8Array | undefined;

  constructor(options: CheckpointWriterOptions) {
    this.#options = options;
    this.#payload = this.#newBlock();
  }

  /** @returns the clusters that became full, none most of the time */
  add(key: Uint8Array, value: Uint8Array): CheckpointBlock[] {
    if (isHostKey(key)) return [];
    const previous = this.#previousKey;
    invariant(
      previous === undefined || Buffer.compare(previous, key) < 0,
      'entries of a checkpoint come in key order',
    );
    this.#previousKey = key;
    const entry = encodeEntry(key, value);
    this.#hash.update(entry);
    this.#payloadBytes += entry.length;
    return this.#append(entry);
  }

  /** The last cluster. */
  finish(): CheckpointBlock {
    return this.#seal(0);
  }

  /** What the label says of the chain; after `finish`. */
  get reference(): CheckpointRef {
    return {
      firstCluster: this.#clusterAt(0),
      clusterCount: this.#blocks,
      payloadBytes: this.#payloadBytes,
      sequence: this.#options.sequence,
      hash: this.#hash.digest(),
    };
  }

  #append(entry: Uint8Array): CheckpointBlock[] {
    const full: CheckpointBlock[] = [];
    let from = 0;
    while (from < entry.length) {
      // A full cluster is sealed only when more follows: until then it may be the last one.
      if (this.#filled === this.#options.clusterBytes)
        full.push(this.#seal(this.#clusterAt(this.#blocks + 1)));
      const length = Math.min(entry.length - from, this.#options.clusterBytes - this.#filled);
      this.#payload.set(entry.subarray(from, from + length), this.#filled);
      this.#filled += length;
      from += length;
    }
    return full;
  }

  #seal(next: number): CheckpointBlock {
    const bytes = this.#payload;
    const view = viewOf(bytes);
    view.setUint32(0, magic, true);
    view.setUint32(at.payloadBytes, this.#filled - checkpointHeaderBytes, true);
    writeU64(view, at.sequence, this.#options.sequence);
    writeU64(view, at.next, next);
    view.setBigUint64(at.hash, xxh64WithoutField(bytes.subarray(0, this.#filled), at.hash), true);
    const block = { cluster: this.#clusterAt(this.#blocks), bytes };
    this.#blocks += 1;
    this.#payload = this.#newBlock();
    return block;
  }

  #newBlock(): Uint8Array {
    this.#filled = checkpointHeaderBytes;
    return new Uint8Array(this.#options.clusterBytes);
  }

  #clusterAt(index: number): number {
    const cluster = this.#options.clusters[index];
    invariant(cluster !== undefined, 'enough clusters were set aside for the checkpoint');
    return cluster;
  }
}

/** The fields of a label that a reader of its checkpoint needs. */
export type CheckpointSource = Pick<
  Label,
  'clusterBytes' | 'clusterCount' | 'firstCluster' | 'checkpoint'
>;

/** One cluster of a chain, proven by its own checksum. */
export interface ChainBlock {
  readonly cluster: number;
  readonly sequence: number;
  /** 0: the last. */
  readonly next: number;
  readonly payload: Uint8Array;
}

/** @throws FormatError truncated, bad-magic, bad-value, bad-checksum */
export function decodeChainBlock(bytes: Uint8Array, cluster: number): ChainBlock {
  expectFormat(
    bytes.length >= checkpointHeaderBytes,
    'truncated',
    `checkpoint cluster ${cluster}: cut off`,
  );
  const view = viewOf(bytes);
  expectFormat(
    view.getUint32(0, true) === magic,
    'bad-magic',
    `cluster ${cluster} holds no checkpoint`,
  );
  const end = checkpointHeaderBytes + view.getUint32(at.payloadBytes, true);
  expectFormat(
    end <= bytes.length,
    'bad-value',
    `checkpoint cluster ${cluster}: payload is too long`,
  );
  const sound =
    view.getBigUint64(at.hash, true) === xxh64WithoutField(bytes.subarray(0, end), at.hash);
  expectFormat(sound, 'bad-checksum', `checkpoint cluster ${cluster}: bad checksum`);
  return {
    cluster,
    sequence: readU64(view, at.sequence),
    next: readU64(view, at.next),
    payload: bytes.subarray(checkpointHeaderBytes, end),
  };
}

/**
 * Sequence and next cluster of a chain's cluster, whatever became of its payload.
 *
 * @returns undefined when it does not begin as one
 */
export function peekChainBlock(
  bytes: Uint8Array,
): Pick<ChainBlock, 'sequence' | 'next'> | undefined {
  if (bytes.length < checkpointHeaderBytes) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== magic) return undefined;
  try {
    return { sequence: readU64(view, at.sequence), next: readU64(view, at.next) };
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

async function* chainBlocks(read: ReadDisk, label: CheckpointSource): AsyncGenerator<ChainBlock> {
  const { checkpoint, clusterBytes } = label;
  if (checkpoint === null) return;
  let cluster = checkpoint.firstCluster;
  for (let count = 0; count < checkpoint.clusterCount; count++) {
    const inside = cluster >= label.firstCluster && cluster < label.clusterCount;
    expectFormat(
      inside,
      'bad-value',
      `the checkpoint's chain leads to cluster ${cluster} after ${count}`,
    );
    const bytes = await read(cluster * clusterBytes, clusterBytes);
    const block = decodeChainBlock(bytes, cluster);
    const same = block.sequence === checkpoint.sequence;
    expectFormat(same, 'not-expected', `cluster ${cluster} is of another checkpoint`);
    yield block;
    cluster = block.next;
  }
  expectFormat(
    cluster === 0,
    'bad-value',
    'the chain of the checkpoint is longer than its label says',
  );
}

/**
 * The entries of the checkpoint that a label names, in key order; none when it names none.
 *
 * @throws FormatError at the first cluster that is not sound, and at the end unless size and hash are the label's:
 *   nothing may be kept of a checkpoint that was not read to its end
 */
export async function* readCheckpoint(
  read: ReadDisk,
  label: CheckpointSource,
): AsyncGenerator<IndexEntry> {
  const hash = xxh64Stream();
  const parser = new EntryParser();
  let payloadBytes = 0;
  for await (const { payload } of chainBlocks(read, label)) {
    hash.update(payload);
    payloadBytes += payload.length;
    yield* parser.feed(payload);
  }
  if (label.checkpoint === null) return;
  parser.finish();
  expectFormat(
    payloadBytes === label.checkpoint.payloadBytes,
    'bad-value',
    'checkpoint: wrong size',
  );
  expectFormat(hash.digest() === label.checkpoint.hash, 'bad-checksum', 'checkpoint: wrong hash');
}

/**
 * The clusters of a label's checkpoint, in order.
 *
 * @throws FormatError when a cluster is not sound
 */
export async function readCheckpointChain(
  read: ReadDisk,
  label: CheckpointSource,
): Promise<number[]> {
  const clusters: number[] = [];
  for await (const { cluster } of chainBlocks(read, label)) clusters.push(cluster);
  return clusters;
}
