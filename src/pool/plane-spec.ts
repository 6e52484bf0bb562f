/**
 * A recovered pool in the words of the data plane.
 */
import type { PoolSpec } from '../dataplane/binding.ts';
import type { DiskSet } from './disk-set.ts';
import type { ForeignDisks } from './foreign-disks.ts';
import { uuidBytes } from './format/bytes.ts';
import type { RecoveredPool } from './recovery.ts';

export interface PlaneSpecParts {
  readonly disks: DiskSet;
  readonly foreign: ForeignDisks;
  readonly epoch: number;
  readonly journal: RecoveredPool['journal'];
  readonly pendingLogPath: string;
  readonly flushWindowMs: number;
}

export function planeSpec(parts: PlaneSpecParts): PoolSpec {
  const { disks, foreign, journal, ...rest } = parts;
  const { poolUuid, clusterBytes } = disks.label;
  return {
    ...rest,
    uuid: uuidBytes(poolUuid),
    clusterBytes,
    disks: [
      ...disks.all.map(({ plane, label }) => ({ handle: plane.handle, number: label.diskNumber })),
      ...foreign.all.map(({ plane, record }) => ({ handle: plane.handle, number: record.number })),
    ],
    journal: {
      replicas: disks.journals.map(({ label }) => ({
        number: label.diskNumber,
        offset: label.journalOffset,
      })),
      bytes: disks.journalBytes,
      head: journal.position,
      tail: journal.tail,
      sequence: journal.sequence,
    },
  };
}
