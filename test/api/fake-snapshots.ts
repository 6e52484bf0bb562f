/** Snapshots of fake volumes, as far as routes can tell. */
import { StorageError } from '../../src/base/errors.ts';
import type { ReportProgress } from '../../src/pool/types.ts';
import type {
  CreateSnapshotOptions,
  DeleteSnapshotOptions,
  RevertOptions,
  ScheduleInfo,
  ScheduleOptions,
  SnapshotName,
  Snapshots,
} from '../../src/snapshot/types.ts';
import { FakeSnapshots, type FakeVolumes } from '../export/fakes.ts';

export class FakeSnapshotService extends FakeSnapshots implements Snapshots {
  readonly #volumes: FakeVolumes;
  readonly kept = new Map<string, ScheduleInfo>();
  /** What was asked for last. */
  asked: unknown;

  constructor(volumes: FakeVolumes) {
    super();
    this.#volumes = volumes;
  }

  list(volume?: string) {
    if (volume !== undefined) this.#volumes.get(volume);
    return this.snapshots.filter((each) => volume === undefined || each.volume === volume);
  }

  attachment(volume: string, name: string): string {
    return `attachment of ${this.get(volume, name).name}`;
  }

  async space(volume: string, name: string) {
    this.get(volume, name);
    return { exclusiveBytes: 4096, sharedBytes: 8192 };
  }

  async create(options: CreateSnapshotOptions) {
    this.asked = options;
    for (const { volume, snapshot } of options.names) {
      this.#volumes.get(volume);
      const exists = this.snapshots.some((s) => s.volume === volume && s.name === snapshot);
      if (exists) throw new StorageError('snapshot/exists', `${volume}@${snapshot} exists`);
    }
    if (options.dryRun) return { snapshots: [], changed: true, pauseSeconds: 0 };
    const snapshots = options.names.map(({ volume, snapshot }) =>
      this.add(this.#volumes.get(volume), snapshot),
    );
    return { snapshots, changed: true, pauseSeconds: 0.002 };
  }

  async rename(volume: string, name: string, to: string, options: { dryRun?: boolean } = {}) {
    const found = this.get(volume, name);
    const renamed = { ...found, name: to };
    if (!options.dryRun) this.snapshots[this.snapshots.indexOf(found)] = renamed;
    return renamed;
  }

  async delete(names: readonly SnapshotName[], options: DeleteSnapshotOptions = {}) {
    this.asked = options;
    for (const { volume, snapshot } of names) {
      const at = this.snapshots.indexOf(this.get(volume, snapshot));
      if (!options.dryRun) this.snapshots.splice(at, 1);
    }
    return { freedBytes: 65_536 * names.length };
  }

  async diff(volume: string, from: string) {
    this.get(volume, from);
    const extents = [0, 1, 2].map((n) => ({ offset: n * 65_536, length: 4096 }));
    return { extents, changedBytes: 3 * 4096 };
  }

  async revert(volume: string, name: string, options: RevertOptions = {}) {
    this.asked = options;
    this.get(volume, name);
    const safety = options.discard ? null : 'before-revert';
    return { volume, safety, pauseSeconds: 0.001, changed: true };
  }

  async clone(source: SnapshotName, name: string, options: { dryRun?: boolean } = {}) {
    const { pool, sizeBytes } = this.get(source.volume, source.snapshot);
    if (this.#volumes.volumes.has(name)) return { changed: false };
    if (!options.dryRun) {
      const origin = `${source.volume}@${source.snapshot}`;
      const volume = this.#volumes.add(name, pool, sizeBytes);
      this.#volumes.volumes.set(name, { ...volume, origin, hasParent: true });
    }
    return { changed: true };
  }

  async flatten(volume: string, report: ReportProgress) {
    const known = this.#volumes.get(volume);
    report(known.sizeBytes, known.sizeBytes);
    this.#volumes.volumes.set(volume, { ...known, origin: null, hasParent: false });
    return { changed: true };
  }

  async inheritedBytes() {
    return 12_288;
  }

  async setMode(volume: string, snapshotMode: 'row' | 'cow') {
    this.#volumes.volumes.set(volume, { ...this.#volumes.get(volume), snapshotMode });
    return { changed: true };
  }

  async schedule({ volume, everySeconds = 3600, keep, dryRun }: ScheduleOptions) {
    this.#volumes.get(volume);
    const schedule: ScheduleInfo = {
      volume,
      everySeconds,
      keep: { last: 0, hourly: 0, daily: 0, weekly: 0, ...keep },
      lastRunAt: null,
      nextRunAt: '2026-01-01T00:00:00.000Z',
    };
    if (!dryRun) this.kept.set(volume, schedule);
    return { schedule, changed: true, expiring: ['auto-1'] };
  }

  schedules(): ScheduleInfo[] {
    return [...this.kept.values()];
  }

  async removeSchedule(volume: string, { dryRun }: { dryRun?: boolean } = {}) {
    if (!this.kept.has(volume)) {
      throw new StorageError('schedule/not-found', `volume ${volume} has no schedule`);
    }
    if (!dryRun) this.kept.delete(volume);
  }
}
