/**
 * Where a backup is sent and where it is received: two pools of one service, for tests. What is sent is kept in memory.
 */
import { BackupReceive } from '../../src/backup/backup-receive.ts';
import { BackupSend, type SentSnapshot } from '../../src/backup/backup-send.ts';
import type { BackupContext } from '../../src/backup/context.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { TwoPools } from '../migration/two-pools.ts';
import type { FixtureOptions } from '../pool/fixture.ts';
import { sourceOf } from './byte-streams.ts';

export const clusterBytes = 16 * KiB;

export class TwoEnds {
  #receiving!: BackupReceive;

  private constructor(readonly both: TwoPools) {
    this.#start();
  }

  static async open(options: FixtureOptions = {}): Promise<TwoEnds> {
    return new TwoEnds(await TwoPools.open({ ...options, clusterBytes, diskBytes: 64 * MiB }));
  }

  get fixture() {
    return this.both.fixture;
  }

  get sending(): BackupSend {
    const { pools, volumes, snapshots } = this.fixture;
    return new BackupSend({ pools, volumes, snapshots, emit: () => {} });
  }

  get receiving(): BackupReceive {
    return this.#receiving;
  }

  async restart(): Promise<void> {
    await this.both.restart();
    this.#start();
  }

  async send(volume: string, snapshot: string, from?: string, context = idle()): Promise<Buffer> {
    const sent: SentSnapshot = { volume, snapshot, ...(from === undefined ? {} : { from }) };
    const parts: Uint8Array[] = [];
    for await (const part of this.sending.stream(sent, context)) parts.push(part);
    return Buffer.concat(parts);
  }

  /** To pool `b`. */
  async receive(stream: Uint8Array, name: string, context = idle()): Promise<boolean> {
    const target = { name, pool: 'b' };
    return (await this.receiving.receive(sourceOf(stream), target, context)).changed;
  }

  async write(volume: string, offset: number, data: Uint8Array): Promise<void> {
    const { plane, close } = await this.fixture.volumes.open(volume);
    await plane.write(offset, data);
    await close();
  }

  async snapshot(volume: string, snapshot: string, kept: object = {}): Promise<void> {
    await this.fixture.snapshots.create({ names: [{ volume, snapshot }], ...kept });
  }

  /** What is in pool `b`, by name. */
  volumesThere(): string[] {
    const there = this.fixture.volumes.list().filter(({ pool }) => pool === 'b');
    return there.map(({ name }) => name);
  }

  close(): Promise<void> {
    return this.both.close();
  }

  #start(): void {
    const { volumes, snapshots } = this.fixture;
    this.#receiving = new BackupReceive({ volumes, snapshots });
  }
}

/** Nobody pauses or looks. */
export function idle(): BackupContext {
  const { signal } = new AbortController();
  return { signal, report() {}, setPhase() {}, remember() {}, whileRunning: async () => {} };
}
