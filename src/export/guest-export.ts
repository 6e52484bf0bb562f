/**
 * What all ways into a guest have in common: the export there is, or one made for it and taken back when the guest refuses; and the way out, when the
 * guest does not let go.
 */
import { StorageError } from '../base/errors.ts';
import { TimeOver } from '../base/time-limit.ts';
import type { ExportService } from './export-service.ts';
import type { ExportInfo } from './types.ts';

type Exports = Pick<ExportService, 'nameOfVolume' | 'get' | 'add' | 'remove'>;

/**
 * @param plug puts it into the guest
 * @returns whether it was exported; with `dryRun` nothing is done but checked
 * @throws StorageError volume/not-found, export/exists, export/listen; what `plug` throws
 */
export async function exportedInto(
  exports: Exports,
  volume: string,
  plug: (info: ExportInfo) => Promise<void>,
  dryRun: boolean,
): Promise<void> {
  const before = exports.nameOfVolume(volume);
  if (before === null) {
    const { export: info } = await exports.add({ name: volume, volume, dryRun });
    if (info === null) return;
    try {
      await plug(info);
    } catch (error) {
      await exports.remove(info.name, { disconnect: true });
      throw error;
    }
  } else if (!dryRun) await plug(exports.get(before));
}

/** For `catch`. @throws StorageError guest/busy in place of a time that is over */
export function notLetGo(volume: string): (error: unknown) => never {
  return (cause) => {
    if (!(cause instanceof TimeOver)) throw cause;
    const message = `the guest has not let go of ${volume}: ${cause.message}; QEMU goes on asking it`;
    throw new StorageError('guest/busy', message, { cause });
  };
}
