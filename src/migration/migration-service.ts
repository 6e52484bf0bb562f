/**
 * MigrationService: moves data between disks while guests run.
 *
 *   cordon    a disk takes no new data
 *   drain     everything on a disk moves to the others                         drain.ts
 *
 * Here: which pool and disk are meant, what is told; each movement has a file of its own, and goes on where it was when it is begun again.
 */
import type { Pools } from '../pool/pools.ts';
import type { DiskInfo, EmitEvent } from '../pool/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { type DrainPlan, drain, planDrain } from './drain.ts';
import { Pace } from './pace.ts';
import type { MovementContext } from './types.ts';

/** Names a disk of an open pool. */
export type DiskName = Pick<DiskInfo, 'pool' | 'number'>;

export interface MigrationDependencies {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly emit: EmitEvent;
}

export class MigrationService {
  readonly #pools: Pools;
  readonly #volumes: VolumeService;
  readonly #emit: EmitEvent;

  constructor({ pools, volumes, emit }: MigrationDependencies) {
    this.#pools = pools;
    this.#volumes = volumes;
    this.#emit = emit;
  }

  /**
   * From now on the disk takes no new data, or takes it again.
   *
   * @throws StorageError pool/not-found, pool/failed
   */
  async setCordoned(
    { pool: name, number }: DiskName,
    cordoned: boolean,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<{ disk: DiskInfo; changed: boolean }> {
    const pool = this.#pools.get(name);
    const placement = pool.placement(number);
    const changed = placement.cordoned !== cordoned;
    if (changed && !options.dryRun) {
      await pool.placeDisk(number, { ...placement, cordoned });
      const { uri } = pool.diskInfo(number);
      const what = cordoned ? 'takes no new data' : 'takes new data again';
      this.#tell(cordoned ? 'disk/cordoned' : 'disk/uncordoned', uri, `disk ${uri} ${what}`);
    }
    return { disk: pool.diskInfo(number), changed };
  }

  /** @throws StorageError pool/full the other disks have not the room */
  planDrain({ pool, number }: DiskName): Promise<DrainPlan> {
    return planDrain(this.#pools.get(pool), number);
  }

  /**
   * Afterwards nothing lies on the disk; it stays cordoned.
   *
   * @throws StorageError pool/full, pool/failed, disk/io; why the operation is to end
   */
  async drain({ pool: name, number }: DiskName, context: MovementContext): Promise<void> {
    const pool = this.#pools.get(name);
    const pace = new Pace(context);
    const { report } = context;
    await planDrain(pool, number);
    const before = (bytes: number) => pace.before(bytes);
    await drain({ pool, volumes: this.#volumes }, number, { before, report });
    const { uri } = pool.diskInfo(number);
    this.#tell('disk/drained', uri, `nothing lies on disk ${uri} any more`);
  }

  #tell(kind: string, subject: string, message: string): void {
    this.#emit({ kind, level: 'info', subject, message });
  }
}
