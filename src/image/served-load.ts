/**
 * Served load: a volume is there, and written to, while an image is loaded into it.
 *
 *   the image is adopted as it is (volume is there) → what is in it is absorbed into the pool → read again and compared → the image is let go
 *
 * The image is a foreign disk of the pool, behind a server that knows its format (docs/adr/0005, image-servers.ts): below the volume lies a frozen
 * layer with what the image holds, and what guests write lies above. So that layer can be compared to the last byte, whatever they wrote.
 * Ended early, by whatever, the volume stays, and reads from the image what has not arrived; begun again, it does what is left.
 */
import { setTimeout } from 'node:timers/promises';
import { StorageError } from '../base/errors.ts';
import type { OpenForeignDisk } from '../pool/foreign-disk.ts';
import { imageLocation } from '../pool/image-disk.ts';
import type { Pool } from '../pool/pool.ts';
import type { ReportProgress } from '../pool/types.ts';
import type { Adoption } from '../volume/adoption.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { sizeUnitBytes } from '../volume/volume-size.ts';
import type { ImageFormat } from './formats.ts';
import type { ImageServers } from './image-servers.ts';
import type { PrivateExports } from './private-exports.ts';
import { compareAll, type ImageContext } from './transfer.ts';

/** A disk that has failed is believed again when it has answered for five seconds. */
const answersMs = 60_000;
const lookMs = 100;

export interface ServedLoadPlan {
  readonly name: string;
  readonly source: string;
  readonly format: ImageFormat;
  readonly sizeBytes: number;
  readonly pool: string;
  readonly class?: string;
}

/** Of the migration layer. */
export interface Absorber {
  absorb(
    name: string,
    context: Pick<ImageContext, 'report' | 'whileRunning'>,
    beforeLettingGo: (pool: Pool, layer: number) => Promise<void>,
  ): Promise<void>;
}

export interface ServedLoadDependencies {
  readonly volumes: VolumeService;
  readonly adoption: Pick<Adoption, 'adopt'>;
  readonly absorber: Absorber;
  readonly exports: PrivateExports;
  readonly servers: Pick<ImageServers, 'renew'>;
}

export class ServedLoad {
  readonly #to: ServedLoadDependencies;

  constructor(dependencies: ServedLoadDependencies) {
    this.#to = dependencies;
  }

  /** @returns false: the volume is there, made of that image @throws StorageError volume/exists it was made of something else */
  isFree({ name, pool, ...image }: ServedLoadPlan): boolean {
    const { volumes } = this.#to;
    const there = volumes.lookUp(name);
    const isSame = there?.record.adoptedFrom === imageLocation(image).uri;
    if (isSame && there?.pool.name === pool) return false;
    volumes.expectFree(name);
    return true;
  }

  /**
   * Afterwards the volume needs the image no more, and what was read of it was what is in it.
   *
   * @throws StorageError volume/exists, pool/full, pool/failed, disk/io, disk/unusable, image/io, image/tool; why the operation is to end
   */
  async load(plan: ServedLoadPlan, context: ImageContext): Promise<void> {
    const { volumes, adoption, absorber } = this.#to;
    const { name, sizeBytes, class: label } = plan;
    const pool = volumes.poolFor(plan.pool);
    // Of an adoption that was cut off.
    await volumes.reaped(pool);
    if (this.isFree(plan)) {
      context.setPhase('mapping');
      const disk = { location: imageLocation(plan), sizeBytes };
      const how = { sizeBytes, ...(label === undefined ? {} : { class: label }) };
      await adoption.adopt({ name, pool, disk, ...how }, context);
    } else await this.#reachAgain(pool, plan, context.signal);
    context.setPhase('copying');
    const report: ReportProgress = (done, total, pace) => context.report(done, 2 * total, pace);
    await absorber.absorb(name, { ...context, report }, (of, layer) =>
      this.#compare(of, layer, plan, context),
    );
  }

  /** A source that went away is looked for again. @throws StorageError disk/io it does not answer; disk/unusable why it cannot be read */
  async #reachAgain(pool: Pool, image: ServedLoadPlan, signal: AbortSignal): Promise<void> {
    const { uri } = imageLocation(image);
    const isLost = ({ record, problem, plane }: OpenForeignDisk) =>
      record.uri === uri && (problem !== null || plane.condition.state !== 'online');
    if (!pool.foreignDisks.some(isLost)) return;
    this.#to.servers.renew(image);
    const giveUpAt = performance.now() + answersMs;
    for (let lost = pool.foreignDisks.find(isLost); lost; lost = pool.foreignDisks.find(isLost)) {
      if (performance.now() > giveUpAt) {
        if (lost.problem !== null) throw new StorageError('disk/unusable', lost.problem);
        throw new StorageError('disk/io', `image ${image.source} does not answer`);
      }
      await setTimeout(lookMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }

  async #compare(
    pool: Pool,
    layer: number,
    { name, source, format, sizeBytes }: ServedLoadPlan,
    context: ImageContext,
  ): Promise<void> {
    const key = `image${layer}`;
    const bytes = Math.ceil(sizeBytes / sizeUnitBytes) * sizeUnitBytes;
    const shown = { chain: () => [layer], sizeBytes: bytes, target: {} };
    const plane = await pool.openVolume({ key, ...shown, writable: false, copyOnWrite: false });
    try {
      await this.#to.exports.serving(plane, { name, readOnly: true }, (uri) => {
        const compare = ['-f', format, '-F', 'raw', source, uri];
        return compareAll({ image: source, sizeBytes, compare, full: 'image/io' }, context);
      });
    } catch (error) {
      throw error instanceof StorageError && error.code === 'image/io' ? inUse(name, error) : error;
    } finally {
      await pool.closeVolume(key);
    }
  }
}

/** The volume is there, and may be in use: what to do with it is not ours to decide. */
function inUse(name: string, { code, message }: StorageError): StorageError {
  return new StorageError(code, `${message}; volume ${name} is there, but not to be trusted`, {
    actions: [`compare it yourself, or delete ${name} and load again`],
  });
}
