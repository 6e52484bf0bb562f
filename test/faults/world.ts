/**
 * Two pools on disks that go wrong on demand, with a volume, snapshots and a clone of known content; put back to their beginning for each case.
 *
 *   gold     disks a, b       volume v: snapshots s1, s2; clone w of v@s1
 *   silver   disk m
 *   image    a raw disk that nobody has adopted yet
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { KiB, MiB } from '../../src/base/units.ts';
import type { FaultRule } from '../../src/dataplane/binding.ts';
import { Leave } from '../../src/migration/leave.ts';
import { MigrationService } from '../../src/migration/migration-service.ts';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import type { EventInput } from '../../src/pool/types.ts';
import { dropAbandonedMoments } from '../../src/snapshot/moment.ts';
import { Adoption } from '../../src/volume/adoption.ts';
import { type Above, startAbove, stopAbove } from '../migration/above.ts';
import { FaultyPlane } from '../pool/faulty-plane.ts';
import { Fixture, until } from '../pool/fixture.ts';

export const clusterBytes = 16 * KiB;
export const volumeBytes = MiB;
const diskBytes = 24 * MiB;
/** Longer than it takes to notice that a disk is to be made well. */
const returnMsMax = 500;
const diskNames = ['a', 'b', 'c', 'm', 'image', 'left'];

/** By name, as `v` or `v@s1`. */
export type Contents = ReadonlyMap<string, Buffer>;

export class FaultWorld {
  above!: Above;

  private constructor(
    readonly fixture: Fixture,
    readonly plane: FaultyPlane,
  ) {}

  static async open(): Promise<FaultWorld> {
    const plane = new FaultyPlane({ loops: 2 });
    const fixture = await Fixture.open({ dataPlane: plane, flushWindowMs: 20 });
    const world = new FaultWorld(fixture, plane);
    await world.#fill();
    await fixture.stop();
    world.#copyTo('.', 'beginning');
    await world.start();
    return world;
  }

  async #fill(): Promise<void> {
    const { pools, volumes, snapshots } = this.fixture;
    await pools.create('gold', [this.uri('a'), this.uri('b')], { clusterBytes });
    await pools.create('silver', [this.uri('m')], { clusterBytes });
    await volumes.create({ name: 'v', sizeBytes: volumeBytes, pool: 'gold' });
    writeFileSync(this.path('image'), this.#pattern(9, volumeBytes));
    await this.write('v', 0, volumeBytes / 2, 1);
    await snapshots.create({ names: [{ volume: 'v', snapshot: 's1' }] });
    await this.write('v', volumeBytes / 4, volumeBytes / 2, 2);
    await snapshots.create({ names: [{ volume: 'v', snapshot: 's2' }] });
    await this.write('v', 5 * KiB, 3 * clusterBytes, 3);
    await snapshots.clone({ volume: 'v', snapshot: 's1' }, 'w');
    await this.write('w', 7 * KiB, 2 * clusterBytes, 4);
  }

  #pattern(value: number, length: number): Buffer {
    return Buffer.alloc(length, Buffer.from([value, 0, 17, value]));
  }

  async write(name: string, offset: number, length: number, value: number): Promise<void> {
    const volume = await this.fixture.volumes.open(name);
    try {
      await volume.plane.write(offset, this.#pattern(value, length));
      await volume.plane.flush();
    } finally {
      await volume.close();
    }
  }

  readonly path = (name: string) => this.fixture.path(name);

  readonly uri = (name: string) => `file:${this.path(name)}?size=${diskBytes}`;

  get migration(): MigrationService {
    const { pools, volumes } = this.fixture;
    return new MigrationService({ pools, volumes, emit: this.#emit });
  }

  get adoption(): Adoption {
    const { pools, volumes, clock } = this.fixture;
    return new Adoption({ pools, volumes, clock, emit: this.#emit });
  }

  get leave(): Leave {
    const { pools, volumes, snapshots } = this.fixture;
    return new Leave({ dataPlane: this.plane, pools, volumes, snapshots, emit: this.#emit });
  }

  readonly #emit = (event: EventInput) => this.fixture.events.push(event);

  async start(): Promise<void> {
    await this.fixture.start();
    this.above = await startAbove(this.fixture);
    await dropAbandonedMoments(this.fixture, () => false);
  }

  async stop(): Promise<void> {
    await stopAbove(this.above);
    await this.fixture.stop();
  }

  /** The service stops with the disks as sick as they are. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** A pool that could not be opened at the start is opened when its disks are well again; as long as they are not, nobody waits. */
  async returned(pool: string): Promise<void> {
    const isOnline = () =>
      this.fixture.pools.list().some(({ name, state }) => name === pool && state === 'online');
    const giveUpAt = performance.now() + returnMsMax;
    const isHopeless = () => this.plane.hasFaults && performance.now() > giveUpAt;
    await until(() => isOnline() || isHopeless());
  }

  /** Everything as it was when the world was opened. */
  async putBack(): Promise<void> {
    this.plane.healAll();
    await this.stop();
    const names = ['state', 'passthrough.json', 'secrets.json', ...diskNames];
    execFileSync('rm', ['-rf', ...names.map((name) => this.path(name))]);
    this.#copyTo('beginning', '.');
    this.fixture.events.length = 0;
    await this.start();
  }

  #copyTo(source: string, target: string): void {
    execFileSync('mkdir', ['-p', this.path(target)]);
    const names = ['state', 'a', 'b', 'm', 'image'].map((name) => this.path(`${source}/${name}`));
    execFileSync('cp', ['-r', '--sparse=always', ...names, this.path(target)]);
  }

  setFaults(disks: readonly string[], rules: readonly FaultRule[]): void {
    for (const disk of disks) this.plane.setFaults(this.path(disk), rules);
  }

  /** What the offline check of both pools calls damage. */
  async damage(): Promise<readonly unknown[]> {
    const pools = new Map<string, string[]>();
    for (const name of ['a', 'b', 'c', 'm']) {
      const { label } = await probeDisk(this.path(name));
      if (label === null || label === undefined) continue;
      pools.set(label.poolUuid, [...(pools.get(label.poolUuid) ?? []), this.path(name)]);
    }
    const reports = await Promise.all([...pools.values()].map((paths) => checkOffline(paths)));
    return reports
      .flatMap(({ findings }) => findings)
      .filter(({ severity }) => severity === 'damage');
  }

  /** Every volume and snapshot there is. */
  async contents(): Promise<Contents> {
    const { volumes, snapshots } = this.fixture;
    const found = new Map<string, Buffer>();
    for (const { name, sizeBytes, pool } of volumes.list()) {
      const opened = await volumes.open(name);
      found.set(name, Buffer.from(await opened.plane.read(0, sizeBytes)));
      await opened.close();
      for (const snapshot of snapshots.list(name)) {
        const frozen = await snapshots.open(pool, snapshot.id);
        const bytes = Buffer.from(await frozen.plane.read(0, snapshot.sizeBytes));
        found.set(`${name}@${snapshot.name}`, bytes);
        await frozen.close();
      }
    }
    return found;
  }

  async close(): Promise<void> {
    this.plane.healAll();
    await stopAbove(this.above);
    await this.fixture.close();
  }
}
