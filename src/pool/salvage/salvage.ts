/**
 * Salvage: copies volumes and snapshots out of a pool's disks, whatever is left of them, without the service, the addon or an import.
 *
 *   labels that can be read → checkpoint, put together from its replicas → journal, from its replicas → records → maps → data
 *
 * Disks are opened for reading, never for writing. Every byte that comes out is what the pool held at that place in the state that is shown;
 * what that cannot be said of is told by range and reason, and left out. What only a killed service's memory had is not on the disks.
 */
import { StorageError } from '../../base/errors.ts';
import { closeDisks, type DiskUnderCheck, openDisks } from '../check/disks.ts';
import { FindingLog } from '../check/findings.ts';
import { Catalog } from './catalog.ts';
import { type ChosenState, chooseState } from './choose-state.ts';
import { DataSources } from './data-sources.ts';
import { entriesOf } from './entries.ts';
import { extract, type WriteData } from './extract.ts';
import { type GatheredPool, gatherDisks } from './gather.ts';
import { LayerMaps } from './layer-maps.ts';
import type { Salvaged, SalvageOverview, SalvageTarget } from './types.ts';

interface Found {
  readonly pool: GatheredPool;
  readonly state: ChosenState;
  readonly catalog: Catalog;
  readonly data: DataSources;
  readonly overview: SalvageOverview;
}

export class Salvage {
  readonly #found: Found;
  readonly #release: () => Promise<void>;

  private constructor(found: Found, release: () => Promise<void>) {
    this.#found = found;
    this.#release = release;
  }

  /**
   * Reads what there is of a pool; any subset of its disks does.
   *
   * @throws StorageError disk/unusable a path cannot be opened; and as `of`
   */
  static async open(paths: readonly string[]): Promise<Salvage> {
    const opened = await openDisks(paths);
    const release = () => closeDisks(opened);
    try {
      return new Salvage(await find(opened), release);
    } catch (error) {
      await release();
      throw error;
    }
  }

  /**
   * As `open`, of disks that can be read already.
   *
   * @throws StorageError disk/unusable two are the same disk; pool/damaged none has a label that can be read; pool/format; request/invalid
   *   disks of several pools
   */
  static async of(disks: readonly DiskUnderCheck[]): Promise<Salvage> {
    return new Salvage(await find(disks), async () => {});
  }

  get overview(): SalvageOverview {
    return this.#found.overview;
  }

  /** @throws StorageError volume/not-found, snapshot/not-found */
  target(name: string): SalvageTarget {
    const found = this.overview.targets.find((target) => target.name === name);
    if (found !== undefined) return found;
    const code = name.includes('@') ? 'snapshot/not-found' : 'volume/not-found';
    throw new StorageError(code, `there is no ${name} among what these disks know`, {
      actions: ['without --volume and --to the command lists what there is'],
    });
  }

  /** Hands over the data of a target in ascending order. Memory: its maps, about 150 MB per TiB written. */
  async extract(target: SalvageTarget, write: WriteData): Promise<Salvaged> {
    const { pool, state, catalog, data } = this.#found;
    const chain = catalog.chainOf(target.layer);
    const { blocks, changes, taken } = state;
    const maps = new LayerMaps(chain, changes);
    for await (const entry of entriesOf(blocks)) maps.add(entry);
    const { clusterBytes } = pool.truth;
    const { sizeBytes } = target;
    return extract({ sizeBytes, clusterBytes, chain, maps, taken, data }, write);
  }

  async close(): Promise<void> {
    await this.#found.data.close();
    await this.#release();
  }
}

async function find(disks: readonly DiskUnderCheck[]): Promise<Found> {
  const log = new FindingLog();
  const pool = await gatherDisks(disks, log);
  const state = await chooseState(pool, log);
  const catalog = new Catalog(log);
  for await (const entry of entriesOf(state.blocks)) catalog.add(entry);
  catalog.change(state.changes);
  const targets = catalog.targets();
  catalog.tellLost();
  const data = new DataSources(pool);
  for (const record of catalog.foreignDisks()) await data.addForeign(record, log);
  const { poolName } = pool.truth;
  const overview = {
    pool: poolName,
    targets,
    findings: log.all(),
    lostChanges: state.lostChanges,
  };
  return { pool, state, catalog, data, overview };
}
