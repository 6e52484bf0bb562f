/**
 * Where data is read from, by the disk number of a slot: the pool's disks, adopted ones, and why some cannot be read.
 */
import { closeDisks, type OpenedDisk, openDisk } from '../check/disks.ts';
import type { FindingLog } from '../check/findings.ts';
import { foreignProblem } from '../check/foreign.ts';
import type { ForeignDiskRecord } from '../foreign-disk.ts';
import type { ReadDisk } from '../format/ring.ts';
import type { Absence, GatheredPool } from './gather.ts';

export interface DataSource {
  readonly name: string;
  readonly read: ReadDisk;
  readonly firstCluster: number;
  readonly clusterCount: number;
}

export class DataSources {
  readonly #sources = new Map<number, DataSource | Absence>();
  readonly #opened: OpenedDisk[] = [];

  constructor({ disks, absent }: GatheredPool) {
    for (const [number, { path, read, label }] of disks) {
      const { firstCluster, clusterCount } = label;
      this.#sources.set(number, { name: path, read, firstCluster, clusterCount });
    }
    for (const [number, absence] of absent) this.#sources.set(number, absence);
  }

  /** Adopted disks are known by where they were; one that was changed since is not read. */
  async addForeign(record: ForeignDiskRecord, log: FindingLog): Promise<void> {
    const { path, clusterCount } = record.foreign;
    const problem = (await foreignProblem(record)) ?? imageProblem(record);
    if (problem !== undefined) {
      log.damage('disk/foreign', record.uri, problem);
      const detail = `${record.uri}: ${problem}`;
      this.#sources.set(record.number, { reason: 'adopted-disk', detail });
      return;
    }
    const disk = await openDisk(path);
    this.#opened.push(disk);
    const { read } = disk;
    this.#sources.set(record.number, { name: path, read, firstCluster: 0, clusterCount });
  }

  get(number: number): DataSource | Absence | undefined {
    return this.#sources.get(number);
  }

  async close(): Promise<void> {
    await closeDisks(this.#opened);
  }
}

/** Only qemu knows where in it a byte is; the image itself is a whole copy of what it holds. */
function imageProblem({ foreign }: ForeignDiskRecord): string | undefined {
  return foreign.kind === 'image'
    ? 'what has not been loaded from an image is in the image'
    : undefined;
}
