/**
 * Background: what goes on in one open pool below its snapshots without anybody asking: layers are merged, writers that wait for copy on
 * write are served, scratch heads of a service that died are dropped.
 *
 * Begins when the pool is opened, ends before it is closed.
 */
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { EmitEvent } from '../pool/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { CopyOnWrite } from './copy-on-write.ts';
import { Janitor } from './janitor.ts';
import { dropScratch } from './open.ts';

export interface BackgroundParts {
  readonly pool: Pool;
  readonly volumes: VolumeService;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

export class Background {
  readonly #janitor: Janitor;

  /** Merges that were cut off go on at once. */
  constructor({ pool, volumes, clock, emit }: BackgroundParts) {
    const onError = (error: unknown) => {
      const message = `layers of pool ${pool.name} cannot be merged: ${messageOf(error)}`;
      emit({ kind: 'pool/not-merged', level: 'error', subject: pool.name, message });
    };
    new CopyOnWrite(pool, volumes);
    this.#janitor = new Janitor({ pool, volumes, clock, onError });
    void dropScratch({ volumes }, pool).catch(onError);
  }

  /** Layers may have lost a name. Resolves when they are as few as their names allow. */
  merge(): Promise<void> {
    return this.#janitor.wake();
  }

  stop(): Promise<void> {
    return this.#janitor.stop();
  }
}
