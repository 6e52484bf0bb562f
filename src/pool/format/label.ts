/**
 * The label: a backing disk's root record, 4096 bytes, two copies written in turn (docs/format.md section 2).
 *
 * Pure. Encoding and decoding are exact inverses for every label that decodes; a flipped bit anywhere is noticed.
 */
import { invariant } from '../../base/errors.ts';
import { isZero, readText, readU64, uuidBytes, uuidText, viewOf, writeU64 } from './bytes.ts';
import { expectFormat, FormatError } from './format-error.ts';
import { isClusterBytes, labelAreaBytes, labelBytes } from './geometry.ts';
import { xxh64WithoutField } from './hash.ts';
import { diskLimit } from './slot.ts';

export const formatVersion = 1;
/**
 * Feature of the class "unknown is refused": the label has a membership. Who does not know it takes the numbers of a pool's disks for 0 up to
 * the count, and would miss a disk that was added, or ask for one that was removed.
 */
const membershipFeature = 1n;
/**
 * Feature of the class "unknown is refused": volumes have moved between the pool and another. Who does not know of it would serve a volume in
 * both of them, and give back layers that are on their way.
 */
const movesFeature = 2n;
/**
 * As above: the label names rings that were left behind. Who does not know it takes such a ring, by its own disk's label, for one that holds
 * every durable record.
 */
const lostRingsFeature = 4n;
/** As above: leaves may carry seals. Who does not know them could not read such a leaf, nor a batch that seals. */
const sealsFeature = 8n;
const featuresOfFields = membershipFeature | lostRingsFeature;
const featuresKnown = featuresOfFields | movesFeature | sealsFeature;
const magic = Buffer.from('VARVEDSK', 'latin1');
const poolNameBytes = 64;
const noUuid = '00000000-0000-0000-0000-000000000000';

const at = {
  version: 8,
  reservedA: 12,
  featuresCompatible: 16,
  featuresReadOnly: 24,
  featuresRefused: 32,
  hash: 40,
  generation: 48,
  poolUuid: 56,
  diskUuid: 72,
  diskNumber: 88,
  diskCount: 92,
  clusterBytes: 96,
  reservedB: 100,
  clusterCount: 104,
  firstCluster: 112,
  diskBytes: 120,
  journalOffset: 128,
  journalBytes: 136,
  tailPosition: 144,
  tailSequence: 152,
  checkpoint: 160,
  epoch: 200,
  owner: 208,
  heartbeatMs: 224,
  poolName: 232,
  membershipGeneration: 296,
  members: 304,
  lostRingsGeneration: 336,
  lostRings: 344,
  end: 376,
} as const;

/** Some disks of the pool, as one label knows them. */
export interface DiskNumbers {
  /** Grows by one with each change; among labels of one epoch the highest counts. At least 1. */
  readonly generation: number;
  /** Numbers of the disks, ascending. */
  readonly numbers: readonly number[];
}

/** Where a disk keeps its copy of the checkpoint, and what it must contain. */
export interface CheckpointRef {
  readonly firstCluster: number;
  readonly clusterCount: number;
  readonly payloadBytes: number;
  /** The last journal record it reflects. */
  readonly sequence: number;
  /** Of the whole payload. */
  readonly hash: bigint;
}

export interface Label {
  readonly generation: number;
  readonly featuresCompatible: bigint;
  readonly featuresReadOnly: bigint;
  /** But for those that follow from other fields. */
  readonly featuresRefused: bigint;
  readonly poolUuid: string;
  readonly diskUuid: string;
  readonly diskNumber: number;
  readonly diskCount: number;
  readonly clusterBytes: number;
  readonly clusterCount: number;
  readonly firstCluster: number;
  readonly diskBytes: number;
  readonly journalOffset: number;
  readonly journalBytes: number;
  readonly tailPosition: number;
  readonly tailSequence: number;
  readonly checkpoint: CheckpointRef | null;
  readonly epoch: number;
  /** The host that holds the pool; null when it was exported cleanly. */
  readonly owner: string | null;
  readonly heartbeatMs: number;
  readonly poolName: string;
  /** null: the pool has its first disks, numbered from 0 on. */
  readonly membership: DiskNumbers | null;
  /** Disks whose rings lack records although their own labels may say that they carry a replica. null: none has been left behind. */
  readonly lostRings: DiskNumbers | null;
}

/** Numbers of the disks that the pool has, as far as the label knows. */
export function memberNumbers({ membership, diskCount }: Label): readonly number[] {
  return membership?.numbers ?? Array.from({ length: diskCount }, (_, number) => number);
}

export function hasMoves({ featuresRefused }: Label): boolean {
  return (featuresRefused & movesFeature) !== 0n;
}

/** What of the label is different once volumes have moved. */
export function withMoves({ featuresRefused }: Label): Pick<Label, 'featuresRefused'> {
  return { featuresRefused: featuresRefused | movesFeature };
}

export function hasSeals({ featuresRefused }: Label): boolean {
  return (featuresRefused & sealsFeature) !== 0n;
}

/** What of the label is different once clusters are sealed. */
export function withSeals({ featuresRefused }: Label): Pick<Label, 'featuresRefused'> {
  return { featuresRefused: featuresRefused | sealsFeature };
}

/** The byte at which the copy of that generation lies. */
export function labelOffset(generation: number): number {
  return (generation % 2) * labelBytes;
}

function encodeCheckpoint(view: DataView, checkpoint: CheckpointRef): void {
  invariant(checkpoint.firstCluster > 0, 'a checkpoint lies in usable clusters');
  writeU64(view, at.checkpoint, checkpoint.firstCluster);
  writeU64(view, at.checkpoint + 8, checkpoint.clusterCount);
  writeU64(view, at.checkpoint + 16, checkpoint.payloadBytes);
  writeU64(view, at.checkpoint + 24, checkpoint.sequence);
  view.setBigUint64(at.checkpoint + 32, checkpoint.hash, true);
}

function encodeIdentity(bytes: Uint8Array, view: DataView, label: Label): void {
  bytes.set(magic, 0);
  view.setUint32(at.version, formatVersion, true);
  view.setBigUint64(at.featuresCompatible, label.featuresCompatible, true);
  view.setBigUint64(at.featuresReadOnly, label.featuresReadOnly, true);
  const membership = label.membership === null ? 0n : membershipFeature;
  const lostRings = label.lostRings === null ? 0n : lostRingsFeature;
  view.setBigUint64(at.featuresRefused, label.featuresRefused | membership | lostRings, true);
  bytes.set(uuidBytes(label.poolUuid), at.poolUuid);
  bytes.set(uuidBytes(label.diskUuid), at.diskUuid);
  const name = Buffer.from(label.poolName, 'utf8');
  invariant(name.length <= poolNameBytes, 'a pool name has at most 64 bytes');
  bytes.set(name, at.poolName);
}

/** A generation, and 32 bytes with a bit per disk behind it. */
function encodeNumbers(bytes: Uint8Array, offset: number, { generation, numbers }: DiskNumbers) {
  writeU64(viewOf(bytes), offset, generation);
  for (const number of numbers) {
    const byte = offset + 8 + (number >> 3);
    bytes[byte] = (bytes[byte] as number) | (1 << (number & 7));
  }
}

/** The label as it is written at `labelOffset(label.generation)`. */
export function encodeLabel(label: Label): Uint8Array {
  const bytes = new Uint8Array(labelBytes);
  const view = viewOf(bytes);
  encodeIdentity(bytes, view, label);
  writeU64(view, at.generation, label.generation);
  view.setUint32(at.diskNumber, label.diskNumber, true);
  view.setUint32(at.diskCount, label.diskCount, true);
  view.setUint32(at.clusterBytes, label.clusterBytes, true);
  writeU64(view, at.clusterCount, label.clusterCount);
  writeU64(view, at.firstCluster, label.firstCluster);
  writeU64(view, at.diskBytes, label.diskBytes);
  writeU64(view, at.journalOffset, label.journalOffset);
  writeU64(view, at.journalBytes, label.journalBytes);
  writeU64(view, at.tailPosition, label.tailPosition);
  writeU64(view, at.tailSequence, label.tailSequence);
  if (label.checkpoint !== null) encodeCheckpoint(view, label.checkpoint);
  writeU64(view, at.epoch, label.epoch);
  bytes.set(uuidBytes(label.owner ?? noUuid), at.owner);
  writeU64(view, at.heartbeatMs, label.heartbeatMs);
  if (label.membership !== null) encodeNumbers(bytes, at.membershipGeneration, label.membership);
  if (label.lostRings !== null) encodeNumbers(bytes, at.lostRingsGeneration, label.lostRings);
  view.setBigUint64(at.hash, xxh64WithoutField(bytes, at.hash), true);
  return bytes;
}

/** Magic, version and checksum keep their places in every version to come: so damage is told apart from novelty. */
function expectReadable(bytes: Uint8Array, view: DataView): void {
  expectFormat(bytes.length === labelBytes, 'truncated', 'a label has 4096 bytes');
  expectFormat(magic.equals(bytes.subarray(0, 8)), 'no-label', 'no label');
  const sound = view.getBigUint64(at.hash, true) === xxh64WithoutField(bytes, at.hash);
  expectFormat(sound, 'bad-checksum', 'label: bad checksum');
  const version = view.getUint32(at.version, true);
  expectFormat(
    version <= formatVersion,
    'newer-version',
    `format version ${version} is newer than ${formatVersion}, the newest known here`,
  );
  expectFormat(version === formatVersion, 'bad-value', `format version ${version} never existed`);
  const unknown = view.getBigUint64(at.featuresRefused, true) & ~featuresKnown;
  expectFormat(unknown === 0n, 'refused-feature', `unknown feature bits 0x${unknown.toString(16)}`);
  const reserved =
    view.getUint32(at.reservedA, true) === 0 &&
    view.getUint32(at.reservedB, true) === 0 &&
    isZero(bytes.subarray(at.end));
  expectFormat(reserved, 'reserved-not-zero', 'label: reserved bytes are not zero');
}

function decodePoolName(bytes: Uint8Array): string {
  const field = bytes.subarray(at.poolName, at.membershipGeneration);
  const end = field.indexOf(0);
  const length = end < 0 ? field.length : end;
  expectFormat(isZero(field.subarray(length)), 'bad-value', 'label: bytes after the pool name');
  return readText(field.subarray(0, length));
}

/** null without the feature. */
function decodeNumbers(bytes: Uint8Array, offset: number, feature: bigint): DiskNumbers | null {
  const view = viewOf(bytes);
  const generation = readU64(view, offset);
  const numbers: number[] = [];
  for (let number = 0; number < 256; number++) {
    const byte = bytes[offset + 8 + (number >> 3)] as number;
    if ((byte >> (number & 7)) & 1) numbers.push(number);
  }
  const has = (view.getBigUint64(at.featuresRefused, true) & feature) !== 0n;
  const fits = has ? generation > 0 : generation === 0 && numbers.length === 0;
  expectFormat(fits, 'bad-value', `label: the disk numbers at byte ${offset}`);
  return has ? { generation, numbers } : null;
}

function decodeCheckpoint(bytes: Uint8Array, view: DataView): CheckpointRef | null {
  const firstCluster = readU64(view, at.checkpoint);
  if (firstCluster === 0) {
    const empty = isZero(bytes.subarray(at.checkpoint, at.epoch));
    expectFormat(empty, 'bad-value', 'label: fields of a checkpoint that is nowhere');
    return null;
  }
  return {
    firstCluster,
    clusterCount: readU64(view, at.checkpoint + 8),
    payloadBytes: readU64(view, at.checkpoint + 16),
    sequence: readU64(view, at.checkpoint + 24),
    hash: view.getBigUint64(at.checkpoint + 32, true),
  };
}

function expectCheckpointFits(label: Label, checkpoint: CheckpointRef): void {
  const usable = label.clusterCount - label.firstCluster;
  expectFormat(
    checkpoint.firstCluster >= label.firstCluster && checkpoint.firstCluster < label.clusterCount,
    'bad-value',
    'label: the checkpoint lies outside the usable clusters',
  );
  expectFormat(
    checkpoint.clusterCount > 0 && checkpoint.clusterCount <= usable,
    'bad-value',
    `label: a checkpoint of ${checkpoint.clusterCount} clusters`,
  );
}

function expectSensible(label: Label): void {
  const { journalBytes, journalOffset, clusterBytes } = label;
  expectFormat(label.diskNumber < diskLimit, 'bad-value', `label: disk number ${label.diskNumber}`);
  expectFormat(label.diskCount <= diskLimit, 'bad-value', `label: ${label.diskCount} disks`);
  expectFormat(
    isClusterBytes(clusterBytes),
    'bad-value',
    `label: clusters of ${clusterBytes} bytes`,
  );
  const journalFits =
    journalBytes === 0
      ? journalOffset === 0
      : journalOffset === labelAreaBytes && journalBytes % 4096 === 0;
  expectFormat(
    journalFits,
    'bad-value',
    `label: journal of ${journalBytes} bytes at ${journalOffset}`,
  );
  const clustersFit =
    label.firstCluster * clusterBytes >= labelAreaBytes + journalBytes &&
    label.firstCluster <= label.clusterCount &&
    label.clusterCount * clusterBytes <= label.diskBytes;
  expectFormat(
    clustersFit,
    'bad-value',
    'label: clusters reach over the journal or the end of the disk',
  );
  if (label.checkpoint !== null) expectCheckpointFits(label, label.checkpoint);
  const counted = label.membership === null || label.membership.numbers.length === label.diskCount;
  expectFormat(counted, 'bad-value', 'label: the members of the pool');
}

/**
 * The label in 4096 bytes read from a disk.
 *
 * @throws FormatError no-label, newer-version, bad-checksum, refused-feature, reserved-not-zero, bad-value, truncated
 */
export function decodeLabel(bytes: Uint8Array): Label {
  const view = viewOf(bytes);
  expectReadable(bytes, view);
  const owner = uuidText(bytes.subarray(at.owner, at.heartbeatMs));
  const label: Label = {
    generation: readU64(view, at.generation),
    featuresCompatible: view.getBigUint64(at.featuresCompatible, true),
    featuresReadOnly: view.getBigUint64(at.featuresReadOnly, true),
    featuresRefused: view.getBigUint64(at.featuresRefused, true) & ~featuresOfFields,
    poolUuid: uuidText(bytes.subarray(at.poolUuid, at.diskUuid)),
    diskUuid: uuidText(bytes.subarray(at.diskUuid, at.diskNumber)),
    diskNumber: view.getUint32(at.diskNumber, true),
    diskCount: view.getUint32(at.diskCount, true),
    clusterBytes: view.getUint32(at.clusterBytes, true),
    clusterCount: readU64(view, at.clusterCount),
    firstCluster: readU64(view, at.firstCluster),
    diskBytes: readU64(view, at.diskBytes),
    journalOffset: readU64(view, at.journalOffset),
    journalBytes: readU64(view, at.journalBytes),
    tailPosition: readU64(view, at.tailPosition),
    tailSequence: readU64(view, at.tailSequence),
    checkpoint: decodeCheckpoint(bytes, view),
    epoch: readU64(view, at.epoch),
    owner: owner === noUuid ? null : owner,
    heartbeatMs: readU64(view, at.heartbeatMs),
    poolName: decodePoolName(bytes),
    membership: decodeNumbers(bytes, at.membershipGeneration, membershipFeature),
    lostRings: decodeNumbers(bytes, at.lostRingsGeneration, lostRingsFeature),
  };
  expectSensible(label);
  return label;
}

type Decoded = { readonly label: Label } | { readonly error: FormatError };

function tryDecode(bytes: Uint8Array): Decoded {
  try {
    return { label: decodeLabel(bytes) };
  } catch (error) {
    if (error instanceof FormatError) return { error };
    throw error;
  }
}

/** A copy that this version must not touch outweighs a valid older one: overwriting it would lose a later version's work. */
function isForbidding(error: FormatError): boolean {
  return error.code === 'newer-version' || error.code === 'refused-feature';
}

/** Whether only one of the copies is a label: the other one may have been newer. */
export function isAlone(copyA: Uint8Array, copyB: Uint8Array): boolean {
  return [tryDecode(copyA), tryDecode(copyB)].filter((copy) => 'label' in copy).length === 1;
}

/**
 * The newer valid one of a disk's two copies.
 *
 * @throws FormatError of the copy that says most about why there is none: unreadable by this version, then damaged,
 *   then absent
 */
export function newestLabel(copyA: Uint8Array, copyB: Uint8Array): Label {
  const copies = [tryDecode(copyA), tryDecode(copyB)];
  const errors = copies.flatMap((copy) => ('error' in copy ? [copy.error] : []));
  const labels = copies.flatMap((copy) => ('label' in copy ? [copy.label] : []));
  const forbidding = errors.find(isForbidding);
  if (forbidding !== undefined) throw forbidding;
  const [first, second] = labels;
  if (first !== undefined) {
    return second !== undefined && second.generation > first.generation ? second : first;
  }
  throw errors.find((error) => error.code !== 'no-label') ?? (errors[0] as FormatError);
}
