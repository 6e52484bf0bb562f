/**
 * What a move to another pool works with, takes and tells.
 */
import type { Clock } from '../../base/clock.ts';
import type { ExportService } from '../../export/export-service.ts';
import type { Pool } from '../../pool/pool.ts';
import type { Pools } from '../../pool/pools.ts';
import type { EmitEvent } from '../../pool/types.ts';
import type { MoveRecord } from '../../volume/moves.ts';
import type { VolumeService } from '../../volume/volume-service.ts';
import type { MovementContext, MovePlan } from '../types.ts';

export interface PoolMoveDependencies {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly exports: Pick<ExportService, 'handOver' | 'list'>;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

/** A move that is under way, with both of its pools open. */
export interface MoveUnderWay {
  readonly source: Pool;
  readonly target: Pool;
  readonly move: MoveRecord;
}

export interface PoolMoveOptions {
  /** Name of a pool. */
  readonly to: string;
  /** How long the move can be undone, and the source keeps what it had; 0: not at all. */
  readonly keepSeconds: number;
}

export interface PoolMovePlan extends MovePlan {
  readonly changed: boolean;
  /** What serves those volumes and their snapshots now. */
  readonly exports: readonly { readonly name: string; readonly clients: number }[];
}

export interface PoolMoveContext extends MovementContext {
  readonly setPhase: (phase: string) => void;
}
