/**
 * Adoption: an existing disk or image becomes a volume at once, read where it is; varve never writes to it.
 *
 *   disk and its layer on record (kept, named by nobody) → the layer's slots, batch by batch → volume with an empty head above: one batch
 *
 * Killed before the last batch, the next opening of the pool finds a layer that nobody needs and gives it back, the disk with it. Writers that
 * the disk had are refused while it is adopted: it is locked, and a block device claimed. docs/adr/0005.
 */
import { type Clock, isoTime } from '../base/clock.ts';
import { invariant, StorageError } from '../base/errors.ts';
import { expectName } from '../base/names.ts';
import { formatSize } from '../base/size.ts';
import { slotsPerRegion, subBlocksPerCluster } from '../base/units.ts';
import type { DiskPlane, PatientDiskPlane } from '../dataplane/data-plane.ts';
import { placesOf } from '../pool/allocator.ts';
import { isNetworkUri, parseDiskUri } from '../pool/disk-uri.ts';
import type { ExistingDisk } from '../pool/existing-disk.ts';
import { type BatchOp, type ClusterRun, packed } from '../pool/format/batch.ts';
import { isImageUri } from '../pool/image-disk.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import { imageFormatOf } from '../pool/signatures.ts';
import type { EmitEvent } from '../pool/types.ts';
import { type AdoptedDisk, adoptionOps, clustersWith, restOf } from './adoption-plan.ts';
import { dataIn } from './data-in.ts';
import type { FillWatch } from './filler.ts';
import { type LayerRecord, layerOp, NewIds, volumeOp } from './records.ts';
import { abortReason } from './thick.ts';
import type { AdoptOptions, VolumeInfo, VolumeRecord } from './types.ts';
import type { VolumeService } from './volume-service.ts';
import { sizeUnitBytes, volumeBytesMin } from './volume-size.ts';

/** The allocator's bitmaps are addressed with 31 bits. */
const clustersMax = 2 ** 31 - 1;

export interface AdoptionPlan {
  readonly name: string;
  readonly pool: Pool;
  readonly disk: Pick<ExistingDisk, 'location' | 'sizeBytes'>;
  /** Of the volume; the disk's, rounded up, unless given. What is beyond the disk reads as zero. */
  readonly sizeBytes?: number;
  /** Of the disks that what is written to the volume, and what is absorbed, is to lie on. */
  readonly class?: string;
}

export interface AdoptionDependencies {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

export class Adoption {
  readonly #to: AdoptionDependencies;

  constructor(dependencies: AdoptionDependencies) {
    this.#to = dependencies;
  }

  /**
   * Makes every check and changes nothing.
   *
   * @returns what `adopt` takes; the volume, when it is there and was adopted from that disk, be it absorbed by now
   * @throws StorageError request/invalid, volume/exists, pool/not-found, disk/unusable, disk/in-use, disk/too-small
   */
  async plan({ name, source, pool: poolName }: AdoptOptions): Promise<AdoptionPlan | VolumeInfo> {
    const { pools, volumes } = this.#to;
    expectName('volume', name);
    const pool = volumes.poolFor(poolName);
    pool.expectWritable();
    const existing = volumes.lookUp(name);
    if (existing !== undefined) {
      const info = volumes.get(name);
      const madeFrom = existing.record.adoptedFrom ?? info.adoptedFrom;
      if (isSame(madeFrom, source) && info.pool === pool.name) return info;
      throw new StorageError('volume/exists', `volume ${name} exists`);
    }
    const disk = await pools.findExistingDisk(source, { readOnly: true });
    expectRaw(disk);
    expectFits(disk, pool);
    return { name, pool, disk };
  }

  /**
   * As `plan`, for one that may have been cut off at any step: what that left is given back first.
   *
   * @returns undefined when the volume was made by then
   * @throws StorageError as `plan`
   */
  async planAgain(options: AdoptOptions): Promise<AdoptionPlan | undefined> {
    const { volumes } = this.#to;
    await volumes.reaped(volumes.poolFor(options.pool));
    const existing = volumes.lookUp(options.name);
    if (isSame(existing?.record.adoptedFrom ?? null, options.source)) return undefined;
    const found = await this.plan(options);
    return 'disk' in found ? found : undefined;
  }

  /**
   * Makes the volume. Ended by an error or by `signal`, it leaves nothing.
   *
   * @throws StorageError volume/exists the name was taken meanwhile; pool/held, disk/in-use, disk/unusable, disk/io, pool/full, pool/failed;
   *   op/state cancelled
   */
  async adopt(plan: AdoptionPlan, watch: FillWatch): Promise<void> {
    const { pool, disk } = plan;
    const plane = await pool.openForeign(disk.location);
    const adopted = await this.#begin(pool, disk, plane);
    try {
      await mapAll(pool, plane, adopted, watch);
      await this.#finish(adopted, plan);
    } catch (error) {
      await this.#abandon(pool, adopted);
      throw error;
    }
  }

  #begin(pool: Pool, disk: AdoptionPlan['disk'], plane: PatientDiskPlane): Promise<AdoptedDisk> {
    const { clusterBytes } = pool;
    return this.#to.volumes.exclusively(pool, async () => {
      const ids = new NewIds(pool);
      const layer = ids.layer();
      const record = await pool.addForeignDisk({ location: disk.location, plane }, (foreign) => [
        ids.op(),
        layerOp({ id: layer, parent: null, foreign, adopting: true }),
      ]);
      const { sizeBytes } = record.foreign;
      return { layer, number: record.number, clusterBytes, sizeBytes };
    });
  }

  #finish(adopted: AdoptedDisk, { name, pool, disk, ...plan }: AdoptionPlan): Promise<void> {
    const { volumes, clock, emit } = this.#to;
    const { uri } = disk.location;
    const scope = () => ({ pools: [pool], names: [name] });
    return volumes.exclusively(scope, async () => {
      volumes.expectFree(name);
      const ids = new NewIds(pool);
      const volume: VolumeRecord = {
        id: ids.volume(),
        name,
        sizeBytes: plan.sizeBytes ?? roundedUp(adopted.sizeBytes, sizeUnitBytes),
        headLayer: ids.layer(),
        snapshotMode: 'row',
        thick: false,
        createdAt: isoTime(clock),
        adoptedFrom: identityText(uri),
        ...(plan.class === undefined ? {} : { placement: { class: plan.class } }),
      };
      await pool.commit([
        ids.op(),
        layerOp(adoptedLayer(adopted)),
        layerOp({ id: volume.headLayer, parent: adopted.layer }),
        volumeOp(volume),
      ]);
      const message = `disk ${uri} was adopted as volume ${name}; the disk stays as it is`;
      emit({ kind: 'volume/adopted', level: 'info', subject: name, message });
    });
  }

  /** The layer is nobody's any more. Where that cannot be said now, the next opening says it. */
  async #abandon(pool: Pool, adopted: AdoptedDisk): Promise<void> {
    try {
      await pool.commit([layerOp(adoptedLayer(adopted))]);
      this.#to.volumes.structureChanged(pool);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }
}

/** Adoptions that were cut off: their layers are nobody's. @returns the operations that say so */
export function abandonedOps(pool: Pool): BatchOp[] {
  return pool
    .records<LayerRecord>('layer/')
    .filter(({ adopting }) => adopting)
    .map(({ adopting: _, ...layer }) => layerOp(layer));
}

function adoptedLayer({ layer, number }: AdoptedDisk): LayerRecord {
  return { id: layer, parent: null, foreign: number };
}

/** Copies what is no whole sub-block, and maps the disk. */
async function mapAll(
  pool: Pool,
  plane: DiskPlane,
  adopted: AdoptedDisk,
  watch: FillWatch,
): Promise<void> {
  const held = await copyRest(pool, plane, adopted);
  try {
    await mapDisk(pool, plane, { ...adopted, restAt: held.flatMap(placesOf)[0] }, watch);
  } catch (error) {
    // The last slots were not committed, so nobody owns it; a pool that failed has no use for it either.
    pool.returnClusters(held);
    throw error;
  }
}

/** Gives every cluster of the disk with data in it its slot. */
async function mapDisk(
  pool: Pool,
  plane: DiskPlane,
  adopted: AdoptedDisk,
  { report, signal }: FillWatch,
): Promise<void> {
  const { sizeBytes, clusterBytes } = adopted;
  const regionBytes = slotsPerRegion * clusterBytes;
  for (let at = 0; at < sizeBytes; at += regionBytes) {
    if (signal?.aborted) throw abortReason(signal);
    const end = Math.min(at + regionBytes, sizeBytes);
    const ranges = clustersWith(
      await dataIn(plane, { offset: at, length: end - at }),
      clusterBytes,
    );
    for (const batch of packed(adoptionOps(adopted, ranges), pool.batchBytesMax)) {
      await pool.commit(batch);
    }
    report(end, sizeBytes);
  }
}

/** The last bytes, padded with zeroes to a sub-block of the pool's own; nothing when they are zeroes anyway. */
async function copyRest(
  pool: Pool,
  plane: DiskPlane,
  adopted: AdoptedDisk,
): Promise<readonly ClusterRun[]> {
  const rest = restOf(adopted);
  if (rest === undefined) return [];
  const subBlockBytes = adopted.clusterBytes / subBlocksPerCluster;
  const padded = new Uint8Array(subBlockBytes);
  padded.set(await plane.read(rest.offset, rest.bytes));
  if (padded.every((byte) => byte === 0)) return [];
  const held = pool.holdClusters(1);
  const [place] = held.flatMap(placesOf);
  invariant(place !== undefined, 'one cluster is held');
  try {
    await pool.writeCluster(place, padded, rest.subBlock * subBlockBytes);
    return held;
  } catch (error) {
    pool.returnClusters(held);
    throw error;
  }
}

function isSame(madeFrom: string | null, source: string): boolean {
  return madeFrom !== null && identityText(madeFrom) === identityText(source);
}

/** `/path` and `file:/path` are one. */
function identityText(text: string): string {
  if (isImageUri(text)) return text;
  const uri = parseDiskUri(text);
  return isNetworkUri(uri) ? uri.normalized : uri.path;
}

/** A filesystem or a partition table is what adoption is for; an image format's header is no data of a guest. */
function expectRaw({ location, probe }: ExistingDisk): void {
  if (location.secret !== undefined) {
    // The pool's records are no place for it, and without it the disk is not found at the next start.
    throw new StorageError('disk/unusable', `disk ${location.uri} needs a secret to be opened`, {
      actions: ['pass it through, and copy its data; or let the target serve it without CHAP'],
    });
  }
  const format = imageFormatOf(probe.signature);
  if (format === undefined) return;
  const raw = `${location.path}.raw`;
  throw new StorageError(
    'disk/unusable',
    `disk ${location.uri} is ${probe.signature}, not a raw disk: its bytes are not what a guest sees`,
    {
      actions: [
        `qemu-img convert -f ${format} -O raw ${location.path} ${raw}, then adopt ${raw}`,
        'nothing was changed',
      ],
    },
  );
}

function expectFits({ location, sizeBytes }: ExistingDisk, { clusterBytes }: Pool): void {
  if (sizeBytes < volumeBytesMin) {
    throw new StorageError(
      'disk/too-small',
      `disk ${location.uri} has ${formatSize(sizeBytes)}, a volume has ${formatSize(volumeBytesMin)} or more`,
    );
  }
  const most = clustersMax * clusterBytes;
  if (sizeBytes <= most) return;
  throw new StorageError(
    'disk/unusable',
    `disk ${location.uri} has ${formatSize(sizeBytes)}, at clusters of ${formatSize(clusterBytes)} ${formatSize(most)} are the most`,
    { actions: ['adopt it into a pool of larger clusters'] },
  );
}

function roundedUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}
