/**
 * Limits that keep a service usable, refused before they are reached; docs/operations.md says them.
 */
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import { type BatchOp, batchBytes } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { snapshotRecords } from './records.ts';
import type { CreateSnapshotOptions } from './types.ts';

const snapshotsPerVolumeMax = 4096;
const layersPerPoolMax = 65_536;
const volumesPerGroupMax = 64;
const attachmentBytesMax = 64 * 1024;
const noteBytesMax = 4096;
const labelsMax = 64;
const labelBytesMax = 256;

/** @throws StorageError request/invalid */
export function expectDescription({
  note,
  labels,
  attachment,
}: Pick<CreateSnapshotOptions, 'note' | 'labels' | 'attachment'>): void {
  const refused = (what: string) => new StorageError('request/invalid', what);
  if (Buffer.byteLength(note ?? '') > noteBytesMax) {
    throw refused(`a note has up to ${noteBytesMax} bytes`);
  }
  if (Buffer.byteLength(attachment ?? '') > attachmentBytesMax) {
    throw refused(`an attachment has up to ${attachmentBytesMax} bytes`);
  }
  const entries = Object.entries(labels ?? {});
  if (entries.length > labelsMax) throw refused(`a snapshot has up to ${labelsMax} labels`);
  if (
    entries.some(([key, value]) => key === '' || Buffer.byteLength(key + value) > labelBytesMax)
  ) {
    throw refused(`a label is KEY=VALUE, together up to ${labelBytesMax} bytes`);
  }
}

/** @throws StorageError request/invalid */
export function expectGroupSize(volumes: number): void {
  if (volumes === 0) throw new StorageError('request/invalid', 'no snapshot was named');
  if (volumes <= volumesPerGroupMax) return;
  throw new StorageError(
    'request/invalid',
    `${volumesPerGroupMax} volumes at most are snapshotted together`,
  );
}

/** The volume may have one more. @throws StorageError snapshot/limit */
export function expectSnapshotsLeft({ pool, record }: FoundVolume): void {
  const count = snapshotRecords(pool).filter(({ volume }) => volume === record.id).length;
  if (count < snapshotsPerVolumeMax) return;
  throw new StorageError(
    'snapshot/limit',
    `volume ${record.name} has ${count} snapshots, more are not kept`,
  );
}

/** @throws StorageError snapshot/limit */
export function expectLayersLeft(pool: Pool, more: number): void {
  const layers = pool.records('layer/').length;
  if (layers + more <= layersPerPoolMax) return;
  throw new StorageError(
    'snapshot/limit',
    `pool ${pool.name} has ${layers} layers, ${layersPerPoolMax} are the most`,
  );
}

/** What is done to snapshots together is one record of the journal. @throws StorageError request/invalid it is too large, `action` helps */
export function expectFitsBatch(pool: Pool, ops: readonly BatchOp[], action: string): void {
  if (batchBytes(ops) <= pool.batchBytesMax) return;
  throw new StorageError(
    'request/invalid',
    `so much at once is more than ${formatSize(pool.batchBytesMax)}, what pool ${pool.name} takes together`,
    { actions: [action] },
  );
}
