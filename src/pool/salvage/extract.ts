/**
 * Copies what a target shows, run by run; what cannot be had is told and left out.
 */
import { slotsPerLeaf, subBlocksPerCluster } from '../../base/units.ts';
import { xxh64Stream } from '../format/hash.ts';
import { isSealOf, type Seal } from '../format/seal.ts';
import { slotCluster, slotDisk, slotMask } from '../format/slot.ts';
import type { SlotStates } from '../format/slot-states.ts';
import { readParts } from '../lenient-read.ts';
import { visibleIn } from '../resolve.ts';
import type { Chain } from './catalog.ts';
import type { TakenClusters } from './changes.ts';
import type { DataSource, DataSources } from './data-sources.ts';
import { type LayerMaps, nowhere, reasonAt, unknown } from './layer-maps.ts';
import { MissingRanges } from './missing-ranges.ts';
import type { LossReason, Salvaged } from './types.ts';

/** Takes data in ascending order; what it is not given is zeroes. */
export type WriteData = (offset: number, bytes: Uint8Array) => Promise<void>;

export interface Source {
  readonly sizeBytes: number;
  readonly clusterBytes: number;
  readonly chain: Chain;
  readonly maps: LayerMaps;
  readonly taken: TakenClusters;
  readonly data: DataSources;
}

/** Sub-blocks of one cluster that follow each other. */
interface Run {
  readonly disk: number;
  readonly cluster: number;
  readonly layer: number;
  readonly first: number;
  readonly count: number;
  /** What all sub-blocks that the layer has in the cluster hash to, if that is known. */
  readonly seal: Seal | undefined;
}

export async function extract(source: Source, write: WriteData): Promise<Salvaged> {
  const extraction = new Extraction(source, write);
  const { maps, sizeBytes, clusterBytes } = source;
  const count = Math.ceil(sizeBytes / (slotsPerLeaf * clusterBytes));
  for (const leaf of maps.leaves(count)) await extraction.copyLeaf(leaf);
  return { copiedBytes: extraction.copiedBytes, missing: extraction.missing.all() };
}

class Extraction {
  copiedBytes = 0;
  readonly missing = new MissingRanges();
  readonly #source: Source;
  readonly #write: WriteData;

  constructor(source: Source, write: WriteData) {
    this.#source = source;
    this.#write = write;
  }

  async copyLeaf(leaf: number): Promise<void> {
    const { chain, maps } = this.#source;
    const known = chain.layers.flatMap((layer) => {
      const states = maps.leaf(layer, leaf);
      return states === undefined ? [] : [{ layer, states }];
    });
    const bottom = chain.isBroken ? [{ layer: -1, states: unknown('layer-lost') }] : [];
    const stack = [...known, ...bottom];
    if (stack.length === 0) return;
    for (let slot = 0; slot < slotsPerLeaf; slot++) {
      for (const run of runsIn(stack, slot)) await this.#copy(leaf * slotsPerLeaf + slot, run);
    }
  }

  async #copy(slot: number, run: Run): Promise<void> {
    const { clusterBytes, sizeBytes, taken } = this.#source;
    const subBlockBytes = subBlockBytesOf(clusterBytes);
    const within = run.first * subBlockBytes;
    const offset = slot * clusterBytes + within;
    const length = Math.min(run.count * subBlockBytes, sizeBytes - offset);
    if (length <= 0) return;
    const miss = (reason: LossReason, detail: string) =>
      this.missing.add({ offset, length, reason, detail });
    if (run.disk === nowhere) {
      const reason = reasonAt(run.cluster);
      return miss(reason, detailOf[reason]);
    }
    const disk = this.#source.data.get(run.disk);
    if (disk === undefined) return miss('address-invalid', `there is no disk ${run.disk}`);
    if ('reason' in disk) return miss(disk.reason, disk.detail);
    if (run.cluster < disk.firstCluster || run.cluster >= disk.clusterCount) {
      return miss('address-invalid', `cluster ${run.cluster} of ${disk.name}`);
    }
    if (taken.has(run.disk, run.cluster, { layer: run.layer, slot })) {
      return miss(
        'overwritten',
        `cluster ${run.cluster} of ${disk.name} was given to something else`,
      );
    }
    if (run.seal !== undefined && !(await isAsSealed(disk, run.seal, clusterBytes))) {
      return miss(
        'content-damaged',
        `cluster ${run.cluster} of ${disk.name} is not what was sealed`,
      );
    }
    await this.#copyFrom(disk, run.cluster * clusterBytes + within, { offset, length });
  }

  async #copyFrom(
    { name, read }: DataSource,
    place: number,
    { offset, length }: { readonly offset: number; readonly length: number },
  ): Promise<void> {
    let had = 0;
    for (const part of await readParts(read, place, length)) {
      const at = offset + part.offset - place;
      had = part.offset - place + part.length;
      if (part.bytes === undefined) {
        this.missing.add({ offset: at, length: part.length, reason: 'unreadable', detail: name });
      } else if (part.length > 0) {
        this.copiedBytes += part.length;
        await this.#write(at, part.bytes);
      }
    }
    if (had === length) return;
    const missing = { offset: offset + had, length: length - had };
    this.missing.add({ ...missing, reason: 'disk-cut-off', detail: `${name} ends before it` });
  }
}

const detailOf = {
  'map-lost': 'the part of the checkpoint that says where it is can be read from no replica',
  'leaf-damaged': 'what says where it is makes no sense',
  'layer-lost': 'a layer that it may come from has no record any more',
} as const;

interface StackedLayer {
  readonly layer: number;
  readonly states: SlotStates;
}

/** Whether the cluster holds what it held when it was sealed; what cannot be read whole is told elsewhere. */
async function isAsSealed(
  { read }: DataSource,
  { hi, lo, hashHi, hashLo }: Seal,
  clusterBytes: number,
): Promise<boolean> {
  const bytes = subBlockBytesOf(clusterBytes);
  const hash = xxh64Stream();
  for (const { first, count } of bitRuns(slotMask(lo))) {
    const place = slotCluster(hi, lo) * clusterBytes + first * bytes;
    const [part] = await readParts(read, place, count * bytes);
    if (part?.bytes?.length !== count * bytes) return true;
    hash.update(part.bytes);
  }
  return hash.digest() === (BigInt(hashHi) << 32n) + BigInt(hashLo);
}

function subBlockBytesOf(clusterBytes: number): number {
  return clusterBytes / subBlocksPerCluster;
}

/** What shows in a slot, in the order of the volume. */
function runsIn(stack: readonly StackedLayer[], slot: number): Run[] {
  const shown = visibleIn(
    stack.map(({ states }) => states),
    slot,
  );
  const runs = shown.flatMap(({ hi, lo, mask, depth }) => {
    const { layer, states } = stack[depth] as StackedLayer;
    const seal = states.seals(slot).find((known) => isSealOf(known, { hi, lo }));
    const place = { disk: slotDisk(hi), cluster: slotCluster(hi, lo), layer, seal };
    return bitRuns(mask).map((run) => ({ ...place, ...run }));
  });
  return runs.sort((a, b) => a.first - b.first);
}

function bitRuns(mask: number): { first: number; count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (let bit = 0; bit < subBlocksPerCluster; bit++) {
    if (((mask >> bit) & 1) === 0) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === bit) last.count += 1;
    else runs.push({ first: bit, count: 1 });
  }
  return runs;
}
