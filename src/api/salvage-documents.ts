/**
 * What salvage found, as documents of the command line: the service is not asked, so they are none of REST's.
 */
import type { Salvaged, SalvageOverview, SalvageTarget } from '../pool/salvage/types.ts';
import { envelope } from './documents.ts';

function damageOf({ findings, lostChanges }: SalvageOverview) {
  return {
    findings: findings.map((finding) => ({ ...finding })),
    lost_changes: lostChanges.map(({ first, last, message }) => ({
      first_sequence: first,
      last_sequence: last,
      message,
    })),
  };
}

/** What can be copied out. */
export function salvageListDocument(overview: SalvageOverview) {
  const items = overview.targets.map(({ name, volume, snapshot, sizeBytes }) => ({
    name,
    volume,
    snapshot,
    size_bytes: sizeBytes,
  }));
  return envelope('SalvageList', { pool: overview.pool, items, ...damageOf(overview) });
}

/** What became of one target. @param file null: nothing was written */
export function salvageDocument(
  overview: SalvageOverview,
  target: SalvageTarget,
  { copiedBytes, missing }: Salvaged,
  file: string | null,
) {
  return envelope('Salvage', {
    pool: overview.pool,
    name: target.name,
    file,
    size_bytes: target.sizeBytes,
    copied_bytes: copiedBytes,
    missing_bytes: missing.reduce((sum, { length }) => sum + length, 0),
    missing: missing.map(({ offset, length, reason, detail }) => ({
      offset_bytes: offset,
      length_bytes: length,
      reason,
      detail,
    })),
    ...damageOf(overview),
  });
}

export type SalvageListDocument = ReturnType<typeof salvageListDocument>;
export type SalvageDocument = ReturnType<typeof salvageDocument>;
