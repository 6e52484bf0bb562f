/**
 * Image load: a new volume with the content of an image.
 *
 *   looked at → volume NAME.loading → copied → durable → read again and compared → it gets its name
 *
 * A volume has its name only when it is whole. After a restart the loading begins again. Zeroes take no space in the volume.
 * Elsewhere: a volume that is served while it is loaded (served-load.ts).
 */
import { StorageError } from '../base/errors.ts';
import { expectName } from '../base/names.ts';
import { formatSize } from '../base/size.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { EmitEvent } from '../pool/types.ts';
import { isStopping } from '../snapshot/moment.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { expectVolumeSize, sizeUnitBytes } from '../volume/volume-size.ts';
import type { ImageFormat } from './formats.ts';
import { findImage, type ImageSource } from './image-source.ts';
import type { PrivateExports } from './private-exports.ts';
import type { ServedLoad } from './served-load.ts';
import { copyAndCompare, type ImageContext } from './transfer.ts';

export interface ImageLoadOptions extends ImageSource {
  readonly name: string;
  /** Defaults to the image's; what is beyond that reads as zero. */
  readonly sizeBytes?: number;
  /** Defaults to the only pool. */
  readonly pool?: string;
  /** Of the disks that its data is to lie on. */
  readonly class?: string;
  /** The volume is there at once, and reads from the image what has not arrived. */
  readonly serve?: boolean;
}

/** What was decided on, in values that are remembered over a restart. */
export type ImageLoadPlan = {
  readonly name: string;
  readonly source: string;
  readonly format: ImageFormat;
  readonly sizeBytes: number;
  readonly pool: string;
  readonly class?: string;
  /** It is served meanwhile. */
  readonly serve?: boolean;
  /** The id of the volume that is being filled, once there is one. */
  readonly filling?: number;
};

export interface ImageLoadDependencies {
  readonly volumes: VolumeService;
  readonly exports: PrivateExports;
  readonly served: ServedLoad;
  readonly emit: EmitEvent;
}

export class ImageLoad {
  readonly #to: ImageLoadDependencies;

  constructor(dependencies: ImageLoadDependencies) {
    this.#to = dependencies;
  }

  /**
   * Makes every check and changes nothing.
   *
   * @returns copiedBytes at most
   * @throws StorageError request/invalid, volume/exists, pool/not-found, pool/full, image/unusable, image/tool
   */
  async plan(options: ImageLoadOptions): Promise<{ plan: ImageLoadPlan; copiedBytes: number }> {
    const { volumes, served } = this.#to;
    const { name, source, class: label, serve = false } = options;
    expectName('volume', name);
    if (!serve) volumes.expectFree(name);
    const pool = volumes.poolFor(options.pool);
    pool.expectWritable();
    const image = await findImage(options);
    const sizeBytes = sizeFor(options, image.sizeBytes);
    const copiedBytes = Math.min(image.storedBytes ?? 0, image.sizeBytes);
    const plan = { name, source, format: image.format, sizeBytes, pool: pool.name, serve };
    const created = { ...plan, ...(label === undefined ? {} : { class: label }) };
    // Begun before: what has arrived stays.
    if (serve && !served.isFree(created)) return { plan: created, copiedBytes };
    await volumes.create({ ...creation(created), dryRun: true });
    if (copiedBytes > pool.freeBytes) {
      const has = `pool ${pool.name} has ${formatSize(pool.freeBytes)} free`;
      throw new StorageError('pool/full', `${has}, the image ${formatSize(copiedBytes)}`);
    }
    return { plan: created, copiedBytes };
  }

  /**
   * Afterwards the volume holds what the image does, to the byte; compared, and durable.
   *
   * @throws StorageError volume/exists, pool/full, pool/failed, image/io, image/tool; why the operation is to end
   */
  async load(plan: ImageLoadPlan, context: ImageContext): Promise<void> {
    const { served, emit } = this.#to;
    const { name, source } = plan;
    await (plan.serve ? served.load(plan, context) : this.#loadUnseen(plan, context));
    const message = `volume ${name} was loaded from ${source}, and compared`;
    emit({ kind: 'volume/loaded', level: 'info', subject: name, message });
  }

  async #loadUnseen(plan: ImageLoadPlan, context: ImageContext): Promise<void> {
    const { volumes } = this.#to;
    const { name } = plan;
    const part = unfinished(name);
    // It was cut off behind its last step.
    if (plan.filling !== undefined && volumes.lookUp(name)?.record.id === plan.filling) return;
    // Of a loading that was cut off before.
    if (volumes.lookUp(part) !== undefined) await volumes.delete(part);
    volumes.expectFree(name);
    const { volume } = await volumes.create(creation(plan));
    context.remember({ filling: volume.id });
    try {
      await this.#fill(part, plan, context);
      await volumes.rename(part, name);
    } catch (error) {
      if (!isStopping(error)) await volumes.delete(part);
      throw error;
    }
  }

  async #fill(part: string, plan: ImageLoadPlan, context: ImageContext): Promise<void> {
    const volume = await this.#to.volumes.open(part);
    try {
      const shown = { name: part, readOnly: false };
      await this.#to.exports.serving(volume.plane, shown, (uri) =>
        fillBy(uri, volume.plane, plan, context),
      );
    } finally {
      await volume.close();
    }
  }
}

async function fillBy(
  uri: string,
  plane: VolumePlane,
  { source, format, sizeBytes }: ImageLoadPlan,
  context: ImageContext,
): Promise<void> {
  const transfer = {
    image: source,
    sizeBytes,
    copy: ['-n', '--target-is-zero', '-W', '-f', format, '-O', 'raw', source, uri],
    settle: () => plane.flush(),
    compare: ['-f', format, '-F', 'raw', source, uri],
    full: 'pool/full',
  } as const;
  await copyAndCompare(transfer, context);
}

function creation({ name, sizeBytes, pool, class: label }: ImageLoadPlan) {
  const placement = label === undefined ? {} : { class: label };
  return { name: unfinished(name), sizeBytes, pool, ...placement };
}

/** Too long a name for it is refused with the volume's creation. */
function unfinished(name: string): string {
  return `${name}.loading`;
}

/** @throws StorageError request/invalid */
function sizeFor({ sizeBytes }: ImageLoadOptions, imageBytes: number): number {
  if (sizeBytes === undefined) return Math.ceil(imageBytes / sizeUnitBytes) * sizeUnitBytes;
  expectVolumeSize(sizeBytes);
  if (sizeBytes >= imageBytes) return sizeBytes;
  const sizes = `the image has ${formatSize(imageBytes)}, more than ${formatSize(sizeBytes)}`;
  throw new StorageError('request/invalid', `volume size: ${sizes}`);
}
