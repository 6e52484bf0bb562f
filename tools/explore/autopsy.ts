/**
 * Disks after a power cut, before anybody opens them: whose they are, what is wrong with them, and what their journals hold.
 */
import { checkReadable } from '../../src/pool/check/check-offline.ts';
import { type BatchOp, decodeBatch } from '../../src/pool/format/batch.ts';
import { FormatError } from '../../src/pool/format/format-error.ts';
import { labelBytes } from '../../src/pool/format/geometry.ts';
import { parseIndexKey } from '../../src/pool/format/index-keys.ts';
import {
  type JournalRecord,
  recordKind,
  scanJournal,
} from '../../src/pool/format/journal-record.ts';
import { type Label, newestLabel } from '../../src/pool/format/label.ts';
import type { ReadDisk } from '../../src/pool/format/ring.ts';
import { newestBy, tailOrder } from '../../src/pool/label-order.ts';
import type { ControlReads } from './control-reads.ts';
import { type CutDisk, headBytes } from './recording-plane.ts';

const blank = new Uint8Array(2 * labelBytes);

export interface LabelledDisk {
  readonly uri: string;
  readonly sizeBytes: number;
  readonly label: Label;
  readonly read: ReadDisk;
  /** What was read of it. */
  readonly reads: ControlReads;
}

export interface FoundDisks {
  /** The disks of each pool. */
  readonly pools: readonly (readonly LabelledDisk[])[];
  /** Labels that cannot be read, in words. */
  readonly damage: readonly string[];
}

/** Disks as they are now: what changes later is not seen. */
export async function findPools(disks: readonly CutDisk[]): Promise<FoundDisks> {
  const pools = new Map<string, LabelledDisk[]>();
  const damage: string[] = [];
  for (const { uri, plane } of disks) {
    const { sizeBytes, reads } = plane;
    if (isBlank(await plane.read(0, 2 * labelBytes))) continue;
    // At once, as it is looked at several times.
    const head = plane.peek(0, headBytes);
    const read = async (offset: number, length: number) => {
      if (offset + length > head.length) return plane.read(offset, length);
      reads.noteRead(offset, length);
      return head.subarray(offset, offset + length);
    };
    try {
      const label = newestLabel(
        head.subarray(0, labelBytes),
        head.subarray(labelBytes, 2 * labelBytes),
      );
      const known = pools.get(label.poolUuid) ?? [];
      pools.set(label.poolUuid, [...known, { uri, sizeBytes, label, read, reads }]);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      if (error.code !== 'no-label') damage.push(`label of ${uri}: ${error.message}`);
    }
  }
  return { pools: [...pools.values()], damage };
}

/** A spare disk, of nobody: by far the most frequent reason for a label that is none. */
function isBlank(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, blank) === 0;
}

/** What the offline check finds on the disks of a pool. */
export async function damageOn(disks: readonly LabelledDisk[]): Promise<string[]> {
  const { findings } = await checkReadable(disks.map((disk) => ({ ...disk, path: disk.uri })));
  return findings
    .filter(({ severity }) => severity === 'damage')
    .map(({ code, where, message }) => `${code} ${where}: ${message}`);
}

/** Kinds of the records that an opening of the pool replays, or would if it remembered nothing. */
export async function replayedKinds(disks: readonly LabelledDisk[]): Promise<Set<string>> {
  const kinds = new Set<string>();
  const rings = disks.filter(({ label }) => label.journalBytes > 0);
  if (rings.length === 0) return kinds;
  const tail = newestBy(
    tailOrder,
    rings.map(({ label }) => label),
  );
  const { read } = rings.find(({ label }) => label === tail) as LabelledDisk;
  for await (const record of scanJournal(read, tail)) {
    for (const kind of kindsIn(record)) kinds.add(kind);
  }
  return kinds;
}

function kindsIn({ kind, payload }: JournalRecord): string[] {
  return kind === recordKind.deltas ? ['deltas'] : decodeBatch(payload).map(kindOf);
}

function kindOf(op: BatchOp): string {
  if (op.op !== 'put' && op.op !== 'delete') return op.op;
  const key = parseIndexKey(op.key);
  return `${op.op} ${key.kind === 'record' ? key.name.split('/')[0] : key.kind}`;
}
