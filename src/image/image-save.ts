/**
 * Image save: a file in one of the common formats, with a volume as it is at one moment.
 *
 *   moment → file beside the target → copied → synced → read again and compared → it gets its name
 *
 * A file has its name only when it is whole, and is not written again then. Else the saving begins again after a restart, with the same moment.
 */
import { rm, stat } from 'node:fs/promises';
import { syncPath, takeName } from '../base/atomic-file.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent } from '../pool/types.ts';
import {
  type Moment,
  type MomentName,
  type MomentServices,
  planMoment,
  readingMoment,
} from '../snapshot/moment.ts';
import type { SavedFormat } from './formats.ts';
import type { PrivateExports } from './private-exports.ts';
import { copyAndCompare, type ImageContext } from './transfer.ts';

export interface ImageSaveOptions extends MomentName {
  /** An absolute path. */
  readonly file: string;
  readonly format: SavedFormat;
  /** Takes the place of a file that is there. */
  readonly force?: boolean;
}

/** What was decided on, in values that are remembered over a restart. */
export type ImageSavePlan = Moment & { readonly file: string; readonly format: SavedFormat };

export interface ImageSaveDependencies extends MomentServices {
  readonly pools: Pick<Pools, 'planTarget'>;
  readonly exports: PrivateExports;
  readonly emit: EmitEvent;
}

export class ImageSave {
  readonly #to: ImageSaveDependencies;

  constructor(dependencies: ImageSaveDependencies) {
    this.#to = dependencies;
  }

  /**
   * Makes every check and changes nothing.
   *
   * @returns copiedBytes at most
   * @throws StorageError volume/not-found, snapshot/not-found, request/invalid, image/exists, disk/unusable, disk/in-use
   */
  async plan(options: ImageSaveOptions): Promise<{ plan: ImageSavePlan; copiedBytes: number }> {
    const { volume, file, format, force = false } = options;
    const { exclusiveBytes, sharedBytes } = this.#to.volumes.get(volume);
    const { moment, sizeBytes } = planMoment(this.#to, options, 'save');
    if (!file.startsWith('/')) {
      throw new StorageError('request/invalid', `"${file}" is no absolute path`);
    }
    // Whatever varve itself uses must not be taken even by force.
    await this.#to.pools.planTarget(file, { sizeBytes, force: true });
    if (!force) await expectAbsent(file);
    const copiedBytes = Math.min(sizeBytes, exclusiveBytes + sharedBytes);
    return { plan: { ...moment, file, format }, copiedBytes };
  }

  /**
   * Afterwards the file holds what the volume, or its snapshot, did; compared, and durable.
   *
   * @throws StorageError volume/not-found, snapshot/not-found, pool/failed, image/io, image/tool; why the operation is to end
   */
  async save(plan: ImageSavePlan, context: ImageContext): Promise<void> {
    const { volume, file } = plan;
    const note = `taken to save ${volume} as ${file}; goes when that has ended`;
    const use = { note, remember: context.remember };
    await readingMoment(this.#to, plan, use, async ({ plane, sizeBytes }) => {
      const shown = { name: volume, readOnly: true };
      await this.#to.exports.serving(plane, shown, (uri) =>
        saveFrom(uri, sizeBytes, plan, context),
      );
    });
    const message = `volume ${volume} was saved as ${file}, and compared`;
    this.#to.emit({ kind: 'volume/saved', level: 'info', subject: volume, message });
  }
}

async function saveFrom(
  uri: string,
  sizeBytes: number,
  { file, format }: ImageSavePlan,
  context: ImageContext,
): Promise<void> {
  const part = `${file}.varve-saving`;
  try {
    await rm(part, { force: true });
    const transfer = {
      image: file,
      sizeBytes,
      copy: ['-W', '-f', 'raw', '-O', format, uri, part],
      settle: () => syncPath(part),
      compare: ['-f', 'raw', '-F', format, uri, part],
      full: 'image/io',
    } as const;
    await copyAndCompare(transfer, context);
    await takeName(part, file);
  } catch (error) {
    await rm(part, { force: true });
    if (error instanceof StorageError) throw error;
    throw new StorageError('image/io', `image ${file}: ${messageOf(error)}`, { cause: error });
  }
}

async function expectAbsent(file: string): Promise<void> {
  const isThere = await stat(file).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  throw new StorageError('image/exists', `${file} is there already`);
}
