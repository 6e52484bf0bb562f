/**
 * Two pools of one service, their exports and moves between them, for tests.
 */
import type { ExportService } from '../../src/export/export-service.ts';
import type { PoolMoves } from '../../src/migration/pool-move/pool-moves.ts';
import type { PoolMoveContext } from '../../src/migration/pool-move/types.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Fixture, type FixtureOptions } from '../pool/fixture.ts';
import { startAbove, stopAbove } from './above.ts';

export interface TwoPoolsOptions extends FixtureOptions {
  readonly clusterBytes: number;
  /** Of each disk: one in `a`, one in `b`. */
  readonly diskBytes: number;
}

export class TwoPools {
  exports!: ExportService;
  moves!: PoolMoves;

  private constructor(readonly fixture: Fixture) {}

  static async open({ clusterBytes, diskBytes, ...options }: TwoPoolsOptions): Promise<TwoPools> {
    const both = new TwoPools(await Fixture.open({ flushWindowMs: 50, ...options }));
    for (const name of ['a', 'b']) {
      await both.fixture.pools.create(name, [both.diskUri(name, diskBytes)], { clusterBytes });
    }
    await both.#startAbove();
    return both;
  }

  /** What two disks hold, as another host finds it whose owner died. */
  static async takeOver(disks: readonly string[]): Promise<TwoPools> {
    const both = new TwoPools(await Fixture.open({ flushWindowMs: 50 }));
    for (const disk of disks) await both.fixture.pools.import([`file:${disk}`], { takeover: true });
    await both.#startAbove();
    await both.moves.dropAbandoned(() => true);
    return both;
  }

  diskUri(pool: string, sizeBytes: number): string {
    return `file:${this.fixture.path(`disk-${pool}`)}?size=${sizeBytes}`;
  }

  get a(): Pool {
    return this.fixture.pools.get('a');
  }

  get b(): Pool {
    return this.fixture.pools.get('b');
  }

  move(volume: string, to: string, options: MoveOptions = {}): Promise<void> {
    const { keepSeconds = 0, undo = false, ...context } = options;
    return this.moves.move(volume, { to, keepSeconds, undo }, { ...context, ...idle(context) });
  }

  /** Everything that goes by itself has gone. */
  async settled(): Promise<void> {
    for (const pool of this.fixture.pools.all()) await this.fixture.snapshots.settled(pool);
  }

  async content(volume: string): Promise<Buffer> {
    const opened = await this.fixture.volumes.open(volume);
    try {
      return Buffer.from(await opened.plane.read(0, opened.record.sizeBytes));
    } finally {
      await opened.close();
    }
  }

  async snapshotContent(volume: string, name: string): Promise<Buffer> {
    const { id, sizeBytes } = this.fixture.snapshots.get(volume, name);
    const { pool } = this.fixture.volumes.get(volume);
    const opened = await this.fixture.snapshots.open(pool, id);
    try {
      return Buffer.from(await opened.plane.read(0, sizeBytes));
    } finally {
      await opened.close();
    }
  }

  /** What the checks of both find. */
  async findings(): Promise<readonly unknown[]> {
    const found = [];
    for (const { name } of this.fixture.pools.all()) {
      found.push(...(await this.fixture.pools.check(name)).findings);
    }
    return found;
  }

  /** As a service that was stopped, or (with `crash`) one whose disks were put back, and that begins again. */
  async restart(whileDown: () => Promise<void> = async () => {}): Promise<void> {
    await this.stopAbove();
    await this.fixture.restart(whileDown);
    await this.#startAbove();
  }

  async stopAbove(): Promise<void> {
    await stopAbove(this);
  }

  async close(): Promise<void> {
    await this.stopAbove();
    await this.fixture.close();
  }

  async #startAbove(): Promise<void> {
    Object.assign(this, await startAbove(this.fixture));
  }
}

export type MoveOptions = Partial<PoolMoveContext> & {
  readonly keepSeconds?: number;
  readonly undo?: boolean;
};

/** Nobody pauses, limits or looks. */
function idle({ report, whileRunning, setPhase }: Partial<PoolMoveContext>): PoolMoveContext {
  return {
    report: report ?? (() => {}),
    whileRunning: whileRunning ?? (async () => {}),
    setPhase: setPhase ?? (() => {}),
  };
}
