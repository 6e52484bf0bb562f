/**
 * A state folder, backing files and the real data plane for tests of pools and volumes.
 *
 * `restart` closes everything and opens it again as a new service would; `close` removes the folder.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import type { Log } from '../../src/base/log.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { type LeaseTimes, leaseTimes } from '../../src/pool/lease.ts';
import { Pools } from '../../src/pool/pools.ts';
import type { EventInput } from '../../src/pool/types.ts';
import { ScrubService } from '../../src/scrub/scrub-service.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';

export const quietLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Time that stands still until a test moves it; `every` fires as it passes. */
export class ManualClock implements Clock {
  #nowMs = Date.parse('2026-01-01T00:00:00Z');
  readonly #timers = new Set<{ everyMs: number; nextMs: number; work: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  every(everyMs: number, work: () => void): () => void {
    const timer = { everyMs, nextMs: this.#nowMs + everyMs, work };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const timer of this.#timers) {
      while (timer.nextMs <= this.#nowMs) {
        timer.nextMs += timer.everyMs;
        timer.work();
      }
    }
  }
}

/**
 * As always where labels and a test's clock decide. The data plane goes by a clock that no test moves, so its lease outlives every
 * test; nobody who could still write waits for an owner to find out.
 */
export const testLeaseTimes: LeaseTimes = { ...leaseTimes(), validMs: 3_600_000, settleMs: 1 };

export interface FixtureOptions {
  readonly clock?: Clock;
  readonly dataPlane?: DataPlane;
  readonly flushWindowMs?: number;
  /** None unless given: what a disk refuses is told at once. */
  readonly patienceSeconds?: number;
  readonly leaseTimes?: LeaseTimes;
}

export class Fixture {
  readonly events: EventInput[] = [];
  pools!: Pools;
  volumes!: VolumeService;
  snapshots!: SnapshotService;
  scrubs!: ScrubService;

  private constructor(
    readonly folder: string,
    readonly dataPlane: DataPlane,
    readonly clock: Clock,
    readonly flushWindowMs: number,
    readonly patienceSeconds: number,
    readonly leaseTimes: LeaseTimes,
  ) {}

  static async open(options: FixtureOptions = {}): Promise<Fixture> {
    const { dataPlane, clock = systemClock, flushWindowMs = 1000, patienceSeconds = 0 } = options;
    const { leaseTimes: times = testLeaseTimes } = options;
    const folder = await mkdtemp(join(tmpdir(), 'varve-pool-'));
    const plane = dataPlane ?? new DataPlane({ loops: 2 });
    const fixture = new Fixture(folder, plane, clock, flushWindowMs, patienceSeconds, times);
    await fixture.start();
    return fixture;
  }

  /** A path inside the folder. */
  path(name: string): string {
    return join(this.folder, name);
  }

  get stateDir(): string {
    return this.path('state');
  }

  /** Opens the pools of a state folder as a service would. */
  async openPools(stateDir = this.stateDir): Promise<Pools> {
    const { dataPlane, clock } = this;
    const emit = (event: EventInput) => this.events.push(event);
    const { flushWindowMs, patienceSeconds, leaseTimes: times } = this;
    const options = { flushWindowMs, patienceSeconds, leaseTimes: times };
    return Pools.open({ stateDir, dataPlane, clock, log: quietLog, emit, options });
  }

  async start(): Promise<void> {
    this.pools = await this.openPools();
    const emit = (event: EventInput) => this.events.push(event);
    const { pools, clock } = this;
    this.volumes = new VolumeService({ pools, clock, emit });
    this.snapshots = new SnapshotService({ pools, volumes: this.volumes, clock, emit });
    this.scrubs = new ScrubService({ pools, volumes: this.volumes, clock, emit });
  }

  async restart(whileDown: () => Promise<void> = async () => {}): Promise<void> {
    await this.stop();
    await whileDown();
    await this.start();
  }

  async stop(): Promise<void> {
    await this.snapshots.close();
    await this.pools.close();
  }

  async close(): Promise<void> {
    await this.stop();
    this.dataPlane.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Resolves when the condition holds; looks again whenever the event loop has had its turn. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
