/**
 * Verifies an open pool: every slot's cluster exists and has one owner, the allocator knows exactly those, layers' counts agree.
 *
 * Works on a snapshot of the folded index, so that the pool serves on. Elsewhere: the check from the disks alone (check/).
 */

import { clearBit, getBit, popCount, setBit } from './bitmap.ts';
import type { DiskSpaceSpec } from './disk-space.ts';
import { FormatError } from './format/format-error.ts';
import { clustersPerChunk, type IndexKey, isHostKey, parseIndexKey } from './format/index-keys.ts';
import { leafEntries } from './format/leaf.ts';
import { slotCluster, slotDisk, slotHasAddress } from './format/slot.ts';
import type { IndexEntry } from './index-store.ts';
import type { Pool } from './pool.ts';
import { foreignSpace, layerSpacePrefix, parseRecord } from './pool-state.ts';
import type { CheckFinding, CheckReport } from './types.ts';

/** More of one kind say nothing new. */
const findingsMax = 1000;

/** @throws StorageError pool/damaged the index cannot be read at all */
export async function checkOnline(pool: Pool): Promise<CheckReport> {
  return (await readMap(pool)).finish();
}

/**
 * How many clusters of a disk are marked used though no slot of any layer names them; none, unless the pool is damaged.
 *
 * @throws StorageError pool/damaged the index cannot be read at all
 */
export async function countOwnerless(pool: Pool, disk: number): Promise<number> {
  return (await readMap(pool)).ownerlessOn(disk);
}

async function readMap(pool: Pool): Promise<OnlineCheck> {
  const check = new OnlineCheck(pool);
  const { snapshot } = await pool.index.foldedSnapshot();
  try {
    for await (const entry of snapshot.entries()) check.add(entry);
  } finally {
    await snapshot.close();
  }
  return check;
}

interface DiskBits {
  readonly firstCluster: number;
  readonly clusterCount: number;
  /** Owned by a slot and not in the stored bitmap yet compared, then: differing. */
  readonly owned: Uint32Array;
  readonly stored: Uint32Array;
}

class OnlineCheck {
  readonly #pool: string;
  readonly #disks = new Map<number, DiskBits>();
  readonly #owned = new Map<number, number>();
  readonly #counted = new Map<number, number>();
  readonly #findings: CheckFinding[] = [];
  #clusters = 0;
  #leaves = 0;
  #records = 0;

  constructor(pool: Pool) {
    this.#pool = pool.name;
    for (const { label } of pool.disks) {
      this.#addDisk({ ...label, number: label.diskNumber });
    }
    for (const { record } of pool.foreignDisks) this.#addDisk(foreignSpace(record));
  }

  #addDisk({ number, firstCluster, clusterCount }: DiskSpaceSpec): void {
    const words = Math.ceil(clusterCount / clustersPerChunk) * (clustersPerChunk / 32);
    const [owned, stored] = [new Uint32Array(words), new Uint32Array(words)];
    this.#disks.set(number, { firstCluster, clusterCount, owned, stored });
  }

  add({ key, value }: IndexEntry): void {
    if (isHostKey(key)) return;
    const where = parseIndexKey(key);
    try {
      this.#addParsed(where, key, value);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#find('index/value', describeKey(where), error.message);
    }
  }

  /** Before `finish`. */
  ownerlessOn(number: number): number {
    const bits = this.#disks.get(number);
    if (bits === undefined) return 0;
    const { owned, stored } = bits;
    return stored.reduce((sum, word, at) => sum + popCount(word & ~(owned[at] as number)), 0);
  }

  finish(): CheckReport {
    for (const [number, bits] of this.#disks) this.#compare(number, bits);
    for (const [layer, clusters] of this.#owned) this.#compareCount(layer, clusters);
    for (const layer of this.#counted.keys()) {
      if (!this.#owned.has(layer)) this.#compareCount(layer, 0);
    }
    return {
      pool: this.#pool,
      findings: this.#findings,
      clustersChecked: this.#clusters,
      leavesChecked: this.#leaves,
      recordsChecked: this.#records,
    };
  }

  #addParsed(where: IndexKey, key: Uint8Array, value: Uint8Array): void {
    if (where.kind === 'leaf') this.#addLeaf(where.layer, where.leaf, value);
    if (where.kind === 'allocator') this.#addBitmap(where.disk, where.chunk, value);
    if (where.kind === 'record') this.#addRecord(where.name, key, value);
  }

  #addLeaf(layer: number, leaf: number, value: Uint8Array): void {
    this.#leaves += 1;
    for (const { slot, hi, lo } of leafEntries(value)) {
      if (!slotHasAddress(hi, lo)) continue;
      const where = `layer ${layer}, slot ${leaf * 64 + slot}`;
      this.#own(slotDisk(hi), slotCluster(hi, lo), where);
      this.#owned.set(layer, (this.#owned.get(layer) ?? 0) + 1);
    }
  }

  #own(disk: number, cluster: number, where: string): void {
    this.#clusters += 1;
    const bits = this.#disks.get(disk);
    const place = `cluster ${cluster} of disk ${disk}`;
    if (bits === undefined || cluster < bits.firstCluster || cluster >= bits.clusterCount) {
      this.#find('map/address', where, `${place} does not exist`);
      return;
    }
    if (getBit(bits.owned, cluster)) this.#find('map/shared', where, `${place} has two owners`);
    setBit(bits.owned, cluster);
  }

  #addBitmap(disk: number, chunk: number, value: Uint8Array): void {
    const bits = this.#disks.get(disk);
    const at = chunk * (clustersPerChunk / 32);
    if (bits === undefined || at >= bits.stored.length) {
      this.#find('space/bitmap', `disk ${disk}, chunk ${chunk}`, 'there is no such chunk');
      return;
    }
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    for (let word = 0; 4 * word < value.length; word++) {
      bits.stored[at + word] = view.getUint32(4 * word, true);
    }
  }

  #addRecord(name: string, key: Uint8Array, value: Uint8Array): void {
    this.#records += 1;
    const record = parseRecord(key, value);
    if (!name.startsWith(layerSpacePrefix)) return;
    const layer = Number(name.slice(layerSpacePrefix.length));
    this.#counted.set(layer, (record as { clusters: number }).clusters);
  }

  #compare(number: number, { owned, stored }: DiskBits): void {
    for (let word = 0; word < owned.length; word++) {
      while (owned[word] !== stored[word]) {
        const differing = (owned[word] as number) ^ (stored[word] as number);
        const cluster = 32 * word + 31 - Math.clz32(differing & -differing);
        const isOwned = getBit(owned, cluster);
        const message = isOwned
          ? 'it is owned but marked free'
          : 'it is marked used, nobody owns it';
        this.#find('space/bitmap', `cluster ${cluster} of disk ${number}`, message);
        clearBit(owned, cluster);
        clearBit(stored, cluster);
      }
    }
  }

  #compareCount(layer: number, clusters: number): void {
    const counted = this.#counted.get(layer) ?? 0;
    if (counted === clusters) return;
    this.#find(
      'space/count',
      `layer ${layer}`,
      `owns ${clusters} clusters, ${counted} are recorded`,
    );
  }

  #find(code: string, where: string, message: string): void {
    if (this.#findings.length < findingsMax) {
      this.#findings.push({ severity: 'damage', code, where, message });
    }
  }
}

function describeKey(key: IndexKey): string {
  if (key.kind === 'leaf') return `leaf ${key.leaf} of layer ${key.layer}`;
  if (key.kind === 'allocator') return `bitmap ${key.chunk} of disk ${key.disk}`;
  return `record ${key.name}`;
}
