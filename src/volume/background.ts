/**
 * Background: what goes on in one open pool without anybody asking: layers that nobody reads any more give their space back, and thick
 * volumes whose service died before they had all of theirs get the rest.
 *
 * Begins when the pool is opened, ends before it is closed.
 */
import { messageOf, StorageError } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { EmitEvent } from '../pool/types.ts';
import { abandonedOps } from './adoption.ts';
import { Filler, type FillWatch } from './filler.ts';
import { Reaper } from './reaper.ts';
import { fillingOf, volumeRecords } from './records.ts';
import type { VolumeRecord } from './types.ts';

export class Background {
  readonly #emit: EmitEvent;
  readonly #reaper: Reaper;
  readonly #filler: Filler;
  /** Volumes filled here by nobody's order. */
  readonly #finishing = new Set<number>();
  readonly #begun: Promise<void>;

  constructor(pool: Pool, emit: EmitEvent) {
    this.#emit = emit;
    this.#reaper = new Reaper(pool, (error) => this.#notFreed(pool.name, error));
    this.#filler = new Filler(pool);
    for (const record of volumeRecords(pool)) {
      if (fillingOf(pool, record.id) !== undefined) void this.#finish(record);
    }
    this.#begun = this.#begin(pool);
  }

  /** Layers may have lost their last reader. Resolves when their space is given back, that of adoptions that were cut off too. */
  async reap(): Promise<void> {
    await this.#begun;
    await this.#reaper.wake();
  }

  /** See Filler. */
  fill(volume: VolumeRecord, watch: FillWatch): Promise<void> {
    return this.#filler.fill(volume, watch);
  }

  isFilling(volume: VolumeRecord): boolean {
    return this.#filler.isFilling(volume.id);
  }

  /** The volume is going to be deleted: what nobody ordered does not keep it in use. */
  async stopFinishing(volume: VolumeRecord): Promise<void> {
    if (!this.#finishing.has(volume.id)) return;
    const gone = new StorageError('volume/not-found', `volume ${volume.name} is being deleted`);
    await this.#filler.stop(volume.id, gone);
  }

  async stop(): Promise<void> {
    await this.#filler.stopAll(new StorageError('service/stopping', 'the pool is being closed'));
    await this.#reaper.stop();
  }

  /** What a killed service was adopting is nobody's; then whatever nobody reads goes. */
  async #begin(pool: Pool): Promise<void> {
    try {
      const abandoned = abandonedOps(pool);
      if (abandoned.length > 0) await pool.commit(abandoned);
    } catch (error) {
      if (!wasStopped(error)) this.#notFreed(pool.name, error);
    }
    void this.#reaper.wake();
  }

  async #finish(volume: VolumeRecord): Promise<void> {
    const { id, name } = volume;
    this.#finishing.add(id);
    try {
      await this.#filler.fill(volume, { report() {}, signal: undefined });
      const message = `volume ${name} has all of its space now: its creation or growth had been cut off`;
      this.#emit({ kind: 'volume/filled', level: 'info', subject: name, message });
    } catch (error) {
      if (!wasStopped(error)) this.#notFilled(volume, error);
    } finally {
      this.#finishing.delete(id);
    }
  }

  #notFilled({ name }: VolumeRecord, error: unknown): void {
    const message = `thick volume ${name} does not have all of its space: ${messageOf(error)}`;
    this.#emit({ kind: 'volume/not-filled', level: 'error', subject: name, message });
  }

  #notFreed(pool: string, error: unknown): void {
    const message = `space of deleted volumes or snapshots of pool ${pool} is not freed yet: ${messageOf(error)}`;
    this.#emit({ kind: 'pool/not-freed', level: 'error', subject: pool, message });
  }
}

function wasStopped(error: unknown): boolean {
  const codes: string[] = ['service/stopping', 'volume/not-found'];
  return error instanceof StorageError && codes.includes(error.code);
}
