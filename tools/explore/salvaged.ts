/**
 * What salvage copies out of a pool that a power cut left: the same promises hold, and nothing of an undamaged pool is missing.
 */
import { Salvage } from '../../src/pool/salvage/salvage.ts';
import type { SalvageTarget } from '../../src/pool/salvage/types.ts';
import type { LabelledDisk } from './autopsy.ts';
import { byName, type Shown } from './content.ts';
import { ImageBytes } from './sectors.ts';

/**
 * @param disks all disks of the only pool
 * @param look judges what is shown
 * @returns a sentence for each broken promise
 */
export async function judgeSalvaged(
  disks: readonly LabelledDisk[],
  look: (shown: Shown<ImageBytes>) => Promise<readonly string[]>,
): Promise<string[]> {
  const missing: string[] = [];
  const salvage = await Salvage.of(disks.map((disk) => ({ ...disk, path: disk.uri })));
  const reading = (target: SalvageTarget) => async () => {
    const image = new Uint8Array(target.sizeBytes);
    const salvaged = await readingData(disks, () =>
      salvage.extract(target, async (offset, bytes) => {
        image.set(bytes, offset);
      }),
    );
    for (const { offset, length, reason, detail } of salvaged.missing) {
      missing.push(`${target.name} lacks ${length} bytes at ${offset}: ${reason}, ${detail}`);
    }
    return new ImageBytes(image);
  };
  const { targets, findings } = salvage.overview;
  const of = (wanted: (target: SalvageTarget) => boolean) =>
    byName(targets.filter(wanted).map((target) => [target.name, reading(target)]));
  const shown = {
    volumes: of(({ snapshot }) => snapshot === null),
    snapshots: of(({ snapshot }) => snapshot !== null),
  };
  const wrong = await look(shown);
  await salvage.close();
  const damage = findings.filter(({ severity }) => severity === 'damage');
  const told = damage.map(({ code, where, message }) => `${code} ${where}: ${message}`);
  return [...told, ...missing, ...wrong].map((sentence) => `salvaged: ${sentence}`);
}

/** What `work` reads of the disks is data: nothing is decided by it. */
function readingData<T>(disks: readonly LabelledDisk[], work: () => Promise<T>): Promise<T> {
  return disks.reduce(
    (inner, { reads }) =>
      () =>
        reads.pausedDuring(inner),
    work,
  )();
}
