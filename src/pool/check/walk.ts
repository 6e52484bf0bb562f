/**
 * Walks over a whole index, entry by entry, and checks what each kind of entry may say.
 */

import { slotsPerLeaf } from '../../base/units.ts';
import type { IndexEntry } from '../format/checkpoint-entry.ts';
import { FormatError } from '../format/format-error.ts';
import { type IndexKey, parseIndexKey } from '../format/index-keys.ts';
import { type LeafEntry, leafEntries } from '../format/leaf.ts';
import { slotCluster, slotDisk, slotHasAddress } from '../format/slot.ts';
import type { ClusterMap } from './cluster-map.ts';
import type { FindingLog } from './findings.ts';
import { countedClusters, countedLayer, type RecordCheck } from './records.ts';

type LeafPlace = Extract<IndexKey, { kind: 'leaf' }>;

/** Runs `check`; what a decoder refuses becomes a finding. */
export function refusedAs(log: FindingLog, code: string, where: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    log.damage(code, where, error.message);
  }
}

/** Every entry of the index as it is after the tail: maps, bitmaps, records. */
export class IndexWalk {
  readonly #clusters: ClusterMap;
  readonly #records: RecordCheck;
  readonly #log: FindingLog;
  readonly lastLeaves = new Map<number, number>();
  leafCount = 0;

  constructor(clusters: ClusterMap, records: RecordCheck, log: FindingLog) {
    this.#clusters = clusters;
    this.#records = records;
    this.#log = log;
  }

  visit({ key, value }: IndexEntry): void {
    refusedAs(this.#log, 'index/key', Buffer.from(key).toString('hex'), () => {
      const parsed = parseIndexKey(key);
      if (parsed.kind === 'leaf') this.#visitLeaf(parsed, value);
      if (parsed.kind === 'allocator') this.#clusters.loadChunk(parsed.disk, parsed.chunk, value);
      if (parsed.kind === 'record') this.#records.add(parsed.name, value);
    });
  }

  #visitLeaf({ layer, leaf }: LeafPlace, value: Uint8Array): void {
    this.leafCount += 1;
    this.lastLeaves.set(layer, leaf);
    refusedAs(this.#log, 'leaf/encoding', `layer ${layer} leaf ${leaf}`, () => {
      for (const entry of leafEntries(value)) this.#visitSlot(layer, leaf * slotsPerLeaf, entry);
    });
  }

  #visitSlot(layer: number, firstSlot: number, { slot, hi, lo }: LeafEntry): void {
    if (!slotHasAddress(hi, lo)) return;
    this.#clusters.claim(slotDisk(hi), slotCluster(hi, lo), { layer, slot: firstSlot + slot });
  }
}

/**
 * Passes entries through and compares the recorded space of each layer with its leaves. Before the tail only: the
 * counts are folded into the index with the leaves, the journal does not carry them.
 */
export async function* withCountedSpace(
  entries: AsyncIterable<IndexEntry>,
  log: FindingLog,
): AsyncGenerator<IndexEntry> {
  const counts = new Map<number, number>();
  for await (const entry of entries) {
    refusedAs(log, 'index/key', Buffer.from(entry.key).toString('hex'), () =>
      countSpace(entry, counts, log),
    );
    yield entry;
  }
}

function countSpace(
  { key, value }: IndexEntry,
  counts: Map<number, number>,
  log: FindingLog,
): void {
  const parsed = parseIndexKey(key);
  if (parsed.kind === 'leaf') {
    const owned = countOwned(value);
    counts.set(parsed.layer, (counts.get(parsed.layer) ?? 0) + owned);
  }
  if (parsed.kind !== 'record') return;
  const layer = countedLayer(parsed.name);
  if (layer === undefined) return;
  const recorded = countedClusters(value);
  const counted = counts.get(layer) ?? 0;
  if (recorded === counted) return;
  log.damage('layer/space', parsed.name, `${String(recorded)} clusters, its leaves own ${counted}`);
}

/** Damaged leaves count as far as they can be read: the walk over the merged index reports them. */
function countOwned(value: Uint8Array): number {
  let owned = 0;
  try {
    for (const { hi, lo } of leafEntries(value)) if (slotHasAddress(hi, lo)) owned += 1;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
  }
  return owned;
}
