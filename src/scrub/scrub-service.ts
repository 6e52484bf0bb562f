/**
 * ScrubService: finds out whether what is stored still is what was written.
 *
 *   seal    what is frozen is hashed in the background          sealer.ts
 *   scrub   everything is read and verified, on request         scrub.ts
 */
import type { Clock } from '../base/clock.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import type { DamageRecord } from '../pool/damage.ts';
import { Pace } from '../pool/pace.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent } from '../pool/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { type AffectedExtent, affectedBy } from './affected.ts';
import { type ScrubWatch, scrub } from './scrub.ts';
import { Sealer } from './sealer.ts';
import type { ScrubContext } from './types.ts';

export interface ScrubDependencies {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

/** More of one scrub would only drown everything else. */
const eventsMax = 100;
/** Between two times that a scrub remembers where it is. */
const rememberMs = 5_000;

export class ScrubService {
  readonly #dependencies: ScrubDependencies;
  readonly #sealers = new Map<Pool, Sealer>();

  constructor(dependencies: ScrubDependencies) {
    const { pools, clock, emit } = dependencies;
    this.#dependencies = dependencies;
    pools.onOpen((pool) => {
      if (pool.isReadOnly) return;
      const onError = (error: unknown) => {
        const message = `frozen layers of pool ${pool.name} cannot be sealed: ${messageOf(error)}`;
        emit({ kind: 'pool/not-sealed', level: 'warning', subject: pool.name, message });
      };
      this.#sealers.set(pool, new Sealer({ pool, clock, onError }));
    });
    pools.onClose(async (pool) => {
      await this.#sealers.get(pool)?.stop();
      this.#sealers.delete(pool);
    });
  }

  /** Resolves when everything that was frozen before the call, and could be read, is sealed, but for what was merged or moved meanwhile. */
  async sealed(pool: Pool): Promise<void> {
    await this.#sealers.get(pool)?.wake();
  }

  /** @throws StorageError pool/not-found, pool/failed, pool/read-only */
  expectScrubbable(pool: string): void {
    this.#dependencies.pools.get(pool).expectWritable();
  }

  /**
   * Reads and verifies a pool, or what lies on one of its disks. To read what is damaged is an error afterwards.
   *
   * @throws StorageError data/damaged something is damaged, `context.tellFindings` was told all of it; pool/failed, disk/io; why the operation is to end
   */
  async scrub(
    { pool: name, disk }: { readonly pool: string; readonly disk?: number | undefined },
    context: ScrubContext,
  ): Promise<void> {
    const { pools, volumes, clock } = this.#dependencies;
    const pool = pools.get(name);
    pool.expectWritable();
    const now = () => new Date(clock.nowMs());
    const scope = { disk, from: context.from };
    const findings = await scrub({ pool, volumes, now }, scope, this.#watch(pool, disk, context));
    context.tellFindings(findings);
    const damaged = findings.filter(({ severity }) => severity === 'damage').length;
    if (damaged === 0) return;
    const what = disk === undefined ? `pool ${name}` : `disk ${pool.diskInfo(disk).uri}`;
    throw new StorageError('data/damaged', `${what} is damaged: ${damaged} finding(s)`, {
      actions: [
        'restore what the findings name from a backup, by overwriting it; or delete the snapshots that they name',
      ],
    });
  }

  #watch(pool: Pool, disk: number | undefined, context: ScrubContext): ScrubWatch {
    const { clock } = this.#dependencies;
    const pace = new Pace(context);
    const clusters = disk === undefined ? pool.info().usedBytes : ownedBytes(pool, disk);
    let doneBytes = 0;
    let told = 0;
    let rememberedMs = clock.nowMs();
    return {
      before: (bytes) => pace.before(bytes),
      onPhase: context.setPhase,
      onRead: (bytes) => {
        doneBytes += bytes;
        const isHeldBack = pool.governor.isHeldBack;
        context.report(Math.min(doneBytes, clusters), clusters, { isHeldBack });
      },
      onPassed: (cursor) => {
        if (clock.nowMs() - rememberedMs < rememberMs) return;
        rememberedMs = clock.nowMs();
        context.remember(cursor);
      },
      onCondemned: async (marks) => {
        for (const mark of marks) if (told++ < eventsMax) await this.#tell(pool, mark);
      },
    };
  }

  async #tell(pool: Pool, mark: DamageRecord): Promise<void> {
    const affected = await affectedBy(pool, mark);
    const who = affected.length === 0 ? 'nothing that has a name' : affected.map(nameOf).join(', ');
    const { uri } = pool.diskInfo(mark.disk);
    const message = `cluster ${mark.cluster} of disk ${uri} is not what was written; it is read by ${who}: this is an error from now on`;
    this.#dependencies.emit({ kind: 'data/damaged', level: 'error', subject: pool.name, message });
  }
}

function ownedBytes(pool: Pool, disk: number): number {
  return pool.occupancy(disk).owned * pool.clusterBytes;
}

function nameOf({ volume, snapshot, offsetBytes, lengthBytes }: AffectedExtent): string {
  const name = snapshot === null ? volume : `${volume}@${snapshot}`;
  return `${name} (${formatSize(lengthBytes)} at byte ${offsetBytes})`;
}
