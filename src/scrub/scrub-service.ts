/**
 * ScrubService: every open pool is sealed in the background (sealer.ts).
 */
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent } from '../pool/types.ts';
import { Sealer } from './sealer.ts';

export interface ScrubDependencies {
  readonly pools: Pools;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

export class ScrubService {
  readonly #sealers = new Map<Pool, Sealer>();

  constructor({ pools, clock, emit }: ScrubDependencies) {
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

  /** Resolves when everything that was frozen before the call, and could be read, is sealed. */
  async sealed(pool: Pool): Promise<void> {
    await this.#sealers.get(pool)?.wake();
  }
}
