/**
 * Writes small pools to files, byte by byte through the codecs, so that tests can plant faults in them.
 *
 * `soundPool` is without fault: two disks with journal and checkpoint, one volume, a tail of three records.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeBatch } from '../../../src/pool/format/batch.ts';
import { CheckpointWriter, type IndexEntry } from '../../../src/pool/format/checkpoint-codec.ts';
import { type DeltaView, encodeDeltas } from '../../../src/pool/format/delta.ts';
import { geometryFor } from '../../../src/pool/format/geometry.ts';
import {
  allocatorKey,
  chunkBytes,
  leafKey,
  recordKey,
} from '../../../src/pool/format/index-keys.ts';
import {
  encodeDeltasPayload,
  encodeRecord,
  type RecordKind,
} from '../../../src/pool/format/journal-record.ts';
import { encodeLabel, type Label, labelOffset } from '../../../src/pool/format/label.ts';
import { encodeLeafEntries } from '../../../src/pool/format/leaf.ts';
import { makeSlot } from '../../../src/pool/format/slot.ts';
import { poolUuid } from '../format/samples.ts';

const clusterBytes = 16384;
const diskBytes = 8 * 1024 * 1024;
export const diskUuids = [
  '00000000-0000-4000-8000-000000000000',
  '00000000-0000-4000-8000-000000000001',
];

export interface PoolSpec {
  /** Slots of layers in the checkpoint: layer, slot, disk, cluster, mask. */
  slots: [layer: number, slot: number, disk: number, cluster: number, mask: number][];
  /** Clusters whose bit is set in the checkpoint's bitmap. */
  used: [disk: number, cluster: number][];
  records: Record<string, unknown>;
  /** Entries added as they are. */
  extra: IndexEntry[];
  /** By disk. */
  chains: number[][];
  checkpointSequence: number;
  tail: { kind: RecordKind; payload: Uint8Array }[];
  labels: Partial<Label>[];
}

export function deltas(firstSerial: number, ...views: DeltaView[]): PoolSpec['tail'][number] {
  return { kind: 1, payload: encodeDeltasPayload({ firstSerial, deltas: encodeDeltas(views) }) };
}

export function slotDelta(
  slot: number,
  state: readonly [hi: number, lo: number],
  released: readonly [hi: number, lo: number] = [0, 0],
): DeltaView {
  const [stateHi, stateLo] = state;
  const [releasedHi, releasedLo] = released;
  return { layer: 1, slot, stateHi, stateLo, zeroMask: 0, releasedHi, releasedLo };
}

export function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

export const soundVolume = {
  id: 1,
  name: 'gold',
  sizeBytes: 100 * 16384,
  headLayer: 1,
};

export function soundPool(): PoolSpec {
  return {
    slots: [
      [1, 0, 0, 30, 0xffff],
      [1, 1, 0, 31, 0x0001],
      [1, 66, 1, 40, 0],
    ],
    used: [
      [0, 30],
      [0, 31],
      [1, 40],
    ],
    records: {
      'disk/0': { uuid: diskUuids[0] },
      'disk/1': { uuid: diskUuids[1] },
      'layer/1': { parent: null },
      'space/1': { clusters: 3 },
      'volume/1': soundVolume,
    },
    extra: [],
    chains: [[100], [200]],
    checkpointSequence: 5,
    tail: [
      deltas(1, slotDelta(2, makeSlot(1, 41, 1)), slotDelta(66, makeSlot(1, 40, 7))),
      {
        kind: 2,
        payload: encodeBatch([{ op: 'put', key: recordKey('export/x'), value: json({}) }]),
      },
      deltas(3, slotDelta(1, [0, 0], makeSlot(0, 31, 0))),
    ],
    labels: [{}, {}],
  };
}

function bitmapEntries(used: PoolSpec['used']): IndexEntry[] {
  return [...new Set(used.map(([disk]) => disk))].map((disk) => {
    const value = new Uint8Array(chunkBytes);
    for (const [other, cluster] of used) {
      if (other === disk) value[cluster >> 3] = (value[cluster >> 3] ?? 0) | (1 << (cluster & 7));
    }
    return { key: allocatorKey(disk, 0), value };
  });
}

function leafValues(slots: PoolSpec['slots']): IndexEntry[] {
  const leaves = new Map<string, PoolSpec['slots']>();
  for (const slot of slots) {
    const name = `${slot[0]} ${Math.floor(slot[1] / 64)}`;
    leaves.set(name, [...(leaves.get(name) ?? []), slot]);
  }
  return [...leaves].map(([name, own]) => {
    const [layer, leaf] = name.split(' ').map(Number) as [number, number];
    const entries = own.map(([, slot, disk, cluster, mask]) => {
      const [hi, lo] = makeSlot(disk, cluster, mask);
      return { slot: slot % 64, hi, lo };
    });
    return { key: leafKey(layer, leaf), value: encodeLeafEntries(entries) as Uint8Array };
  });
}

export function checkpointEntries(spec: PoolSpec): IndexEntry[] {
  const records = Object.entries(spec.records).map(([name, value]) => ({
    key: recordKey(name),
    value: json(value),
  }));
  const all = [...bitmapEntries(spec.used), ...leafValues(spec.slots), ...records, ...spec.extra];
  return all.sort((a, b) => Buffer.compare(a.key, b.key));
}

function writeTail(disk: Uint8Array, spec: PoolSpec, journalOffset: number): void {
  let position = 0;
  spec.tail.forEach(({ kind, payload }, index) => {
    const sequence = spec.checkpointSequence + 1 + index;
    const record = encodeRecord({ kind, poolUuid, epoch: 2, sequence, position }, payload);
    disk.set(record, journalOffset + position);
    position += record.length;
  });
}

/** The bytes of disk `number`. */
export function diskImage(spec: PoolSpec, number: number): Buffer {
  const disk = Buffer.alloc(diskBytes);
  const geometry = geometryFor({ diskBytes, clusterBytes, journal: true });
  const clusters = spec.chains[number] as number[];
  const sequence = spec.checkpointSequence;
  const writer = new CheckpointWriter({ clusterBytes, sequence, clusters });
  const blocks = checkpointEntries(spec).flatMap(({ key, value }) => writer.add(key, value));
  for (const block of [...blocks, writer.finish()])
    disk.set(block.bytes, block.cluster * clusterBytes);
  writeTail(disk, spec, geometry.journalOffset);
  const label = encodeLabel({
    generation: 3,
    featuresCompatible: 0n,
    featuresReadOnly: 0n,
    featuresRefused: 0n,
    poolUuid,
    diskUuid: diskUuids[number] as string,
    diskNumber: number,
    diskCount: spec.labels.length,
    clusterBytes,
    diskBytes,
    ...geometry,
    tailPosition: 0,
    tailSequence: sequence + 1,
    checkpoint: writer.reference,
    epoch: 2,
    owner: null,
    heartbeatMs: 0,
    poolName: 'main',
    membership: null,
    lostRings: null,
    ...spec.labels[number],
  });
  disk.set(label, labelOffset(spec.labels[number]?.generation ?? 3));
  return disk;
}

/** Writes every disk into the folder, each after `hurt` had its way with it. @returns their paths */
export function writePool(
  folder: string,
  spec: PoolSpec,
  hurt: (disk: Buffer, number: number) => Buffer | undefined = () => undefined,
): string[] {
  return spec.labels.map((_, number) => {
    const path = join(folder, `disk-${number}`);
    const disk = diskImage(spec, number);
    writeFileSync(path, hurt(disk, number) ?? disk);
    return path;
  });
}
