/**
 * Numbers for Prometheus, read from the services when scraped; names after node_exporter's habit.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { VolumeStats } from '../dataplane/binding.ts';
import type { DiskInfo, PoolActivity, PoolInfo } from '../pool/types.ts';
import { latencyMetric } from './latency-metric.ts';
import type { ApiServices } from './ports.ts';

/** The default of 10 wakes an idle service a hundred times a second, which is most of what it then does. */
const eventLoopSampleMs = 500;

type Numbers<T> = readonly [name: string, help: string, value: (of: T) => number];

const poolGauges: readonly Numbers<PoolInfo>[] = [
  ['capacity_bytes', 'Bytes of all clusters', (pool) => pool.capacityBytes],
  ['used_bytes', 'Bytes of clusters in use', (pool) => pool.usedBytes],
  ['free_bytes', 'Bytes of free clusters', (pool) => pool.freeBytes],
  ['promised_bytes', 'Sum of the sizes of the volumes', (pool) => pool.promisedBytes],
  ['reserve_bytes', 'Bytes kept for metadata', (pool) => pool.reserveBytes],
  ['journal_bytes', 'Size of the journal', (pool) => pool.journalBytes],
  ['journal_used_bytes', 'Journal between tail and head', (pool) => pool.journalUsedBytes],
  ['online', '1 when it serves, 0 when it has failed', (pool) => (pool.state === 'online' ? 1 : 0)],
];

const backgroundMax: Numbers<PoolActivity> = [
  'background_bytes_per_second_max',
  'As fast as background work may go for the sake of guests; +Inf when they do not hold it back',
  ({ background }) => background.bytesPerSecondMax,
];

const backgroundMoved: Numbers<PoolActivity> = [
  'background_moved_bytes_total',
  'Bytes that background work has moved',
  ({ background }) => background.movedBytes,
];

const heldWriters: Numbers<PoolActivity> = [
  'held_writes',
  'Writes of guests that wait for space',
  (activity) => activity.heldWriters,
];

const diskGauges: readonly Numbers<DiskInfo>[] = [
  ['online', '1 when it answers, 0 when not', (disk) => (disk.state === 'online' ? 1 : 0)],
  ['failing_seconds', 'How long it has failed', (disk) => disk.failing?.seconds ?? 0],
  ['held_requests', 'Requests that wait for it', (disk) => disk.failing?.held ?? 0],
];

const volumeCounters: readonly Numbers<VolumeStats>[] = [
  ['reads_completed_total', 'Reads answered', (stats) => stats.reads],
  ['writes_completed_total', 'Writes answered', (stats) => stats.writes],
  ['flushes_completed_total', 'Flushes answered', (stats) => stats.flushes],
  ['discards_completed_total', 'Discards answered', (stats) => stats.discards],
  ['read_bytes_total', 'Bytes read', (stats) => stats.readBytes],
  ['written_bytes_total', 'Bytes written', (stats) => stats.writeBytes],
  ['discarded_bytes_total', 'Bytes discarded', (stats) => stats.discardBytes],
  ['errors_total', 'Requests answered with an error', (stats) => stats.errors],
];

export class Metrics {
  readonly #registry = new Registry();

  constructor(services: ApiServices) {
    collectDefaultMetrics({
      register: this.#registry,
      eventLoopMonitoringPrecision: eventLoopSampleMs,
    });
    for (const gauge of poolGauges) this.#addPoolGauge(services, gauge);
    for (const gauge of diskGauges) this.#addDiskGauge(services, gauge);
    for (const counter of volumeCounters) this.#addVolumeCounter(services, counter);
    this.#addActivity(services);
    this.#addVolumeMapBytes(services);
    this.#addExportClients(services);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #addPoolGauge(services: ApiServices, [name, help, value]: Numbers<PoolInfo>): void {
    this.#addGauge(`varve_pool_${name}`, help, 'pool', () =>
      services.pools.list().map((pool) => [pool.name, value(pool)]),
    );
  }

  #addDiskGauge(services: ApiServices, [name, help, value]: Numbers<DiskInfo>): void {
    this.#addGauge(`varve_disk_${name}`, help, 'disk', () =>
      services.pools
        .list()
        .flatMap(({ disks }) => disks.map((disk): [string, number] => [disk.uri, value(disk)])),
    );
  }

  #addActivity({ pools }: ApiServices): void {
    const read = (value: Numbers<PoolActivity>[2]) => () =>
      pools.activity().map((activity): [string, number] => [activity.pool, value(activity)]);
    for (const [gauge, help, value] of [backgroundMax, heldWriters]) {
      this.#addGauge(`varve_pool_${gauge}`, help, 'pool', read(value));
    }
    const [counter, counterHelp, moved] = backgroundMoved;
    this.#addCounter(`varve_pool_${counter}`, counterHelp, 'pool', read(moved));
    this.#registry.registerMetric(latencyMetric(() => pools.activity()));
  }

  #addVolumeMapBytes(services: ApiServices): void {
    this.#addGauge('varve_volume_map_bytes', 'Memory of its page table', 'volume', () =>
      services.exports.volumeStats().map(({ volume, stats }) => [volume, stats.mapBytes]),
    );
  }

  #addExportClients(services: ApiServices): void {
    this.#addGauge('varve_export_clients', 'Connected clients', 'export', () =>
      services.exports.list().map((info) => [info.name, info.clients]),
    );
  }

  #addGauge(name: string, help: string, label: string, read: () => [string, number][]): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        // What no longer exists must not linger with its last value.
        this.reset();
        for (const [of, value] of read()) this.set({ [label]: of }, value);
      },
    });
  }

  #addVolumeCounter(services: ApiServices, [name, help, value]: Numbers<VolumeStats>): void {
    this.#addCounter(`varve_volume_${name}`, help, 'volume', () =>
      services.exports.volumeStats().map(({ volume, stats }) => [volume, value(stats)]),
    );
  }

  /** Others count; a counter here only repeats their totals. */
  #addCounter(name: string, help: string, label: string, read: () => [string, number][]): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [of, value] of read()) this.inc({ [label]: of }, value);
      },
    });
  }
}
