/**
 * What all ways into a guest have in common: the export there is, or one made for it and taken back when the guest refuses; and the way out, when the
 * guest does not let go.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { StorageError } from '../base/errors.ts';
import { TimeOver } from '../base/time-limit.ts';
import type { ExportService } from './export-service.ts';
import type { ExportInfo } from './types.ts';

type Exports = Pick<ExportService, 'nameOfVolume' | 'clientsOf' | 'get' | 'add' | 'remove'>;

/** The connection of a guest that has just let go ends a moment later. */
const partingMs = 1000;
const lookMs = 20;

export interface AttachTerms {
  /** Clients that have the volume already know of the guest, and it of them. */
  readonly shared?: boolean;
  readonly dryRun?: boolean;
}

/**
 * @param plug puts it into the guest, which does not have it; with `dryRun` nothing is done but checked
 * @throws StorageError volume/not-found, export/busy, export/exists, export/listen; what `plug` throws
 */
export async function exportedInto(
  exports: Exports,
  volume: string,
  plug: (info: ExportInfo) => Promise<void>,
  { shared = false, dryRun = false }: AttachTerms,
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
  } else {
    const info = exports.get(before);
    if (!shared && !info.readOnly) await expectAlone(exports, volume);
    if (!dryRun) await plug(info);
  }
}

/** Two guests that write to one disk destroy what is on it, each believing in what it remembers. */
async function expectAlone(exports: Pick<Exports, 'clientsOf'>, volume: string): Promise<void> {
  const giveUpAt = performance.now() + partingMs;
  let clients = exports.clientsOf(volume);
  while (clients > 0 && performance.now() < giveUpAt) {
    await delay(lookMs);
    clients = exports.clientsOf(volume);
  }
  if (clients === 0) return;
  const others = clients === 1 ? 'a client has' : `${clients} clients have`;
  const message = `${others} volume ${volume} already: two guests that write to one disk destroy what is on it`;
  throw new StorageError('export/busy', message, {
    actions: [
      'varve client list shows who; detach it there first',
      'add --shared when they know of each other (a file system for several hosts, a migration)',
    ],
  });
}

/** For `catch`. @throws StorageError guest/busy in place of a time that is over */
export function notLetGo(volume: string): (error: unknown) => never {
  return (cause) => {
    if (!(cause instanceof TimeOver)) throw cause;
    const message = `the guest has not let go of ${volume}: ${cause.message}; QEMU goes on asking it`;
    throw new StorageError('guest/busy', message, { cause });
  };
}
