/**
 * Where the clusters of a layer belong: where its volume is placed if there is room, else anywhere.
 */
import type { Target } from '../pool/allocator.ts';
import type { Pool } from '../pool/pool.ts';

const anywhere: Target = {};

export function placementTargets(_pool: Pool, _layer: number): readonly Target[] {
  return [anywhere];
}
