/**
 * What the host that a power cut hit still remembers of the pool: its index as it was at some moment before the cut.
 *
 * The pending log is not kept: it means nothing after a reboot.
 */
import { cpSync, existsSync, linkSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface KeptMemory {
  /** Of the recorded disks: older than any cut it is used with. */
  readonly moment: number;
  /** A state folder, used by way of `restoreMemory`. */
  readonly folder: string;
}

/** Copies identity, index and lineage of a state folder; the list of pools stays behind, as it names the recorded disks. */
export function keepMemory(stateDir: string, folder: string, moment: number): KeptMemory {
  const pools = join(stateDir, 'pools');
  mkdirSync(folder);
  cpSync(join(stateDir, 'host-id'), join(folder, 'host-id'));
  for (const uuid of readdirSync(pools)) {
    for (const part of ['index', 'lineage.json']) {
      const from = join(pools, uuid, part);
      if (existsSync(from)) cpSync(from, join(folder, 'pools', uuid, part), { recursive: true });
    }
  }
  return { moment, folder };
}

/** Makes a state folder of it, of links: LevelDB, and whoever replaces files as wholes, changes none that is there. */
export function restoreMemory({ folder }: Pick<KeptMemory, 'folder'>, stateDir: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const [from, to] = [join(folder, entry.name), join(stateDir, entry.name)];
    if (!entry.isDirectory()) {
      linkSync(from, to);
      continue;
    }
    mkdirSync(to);
    restoreMemory({ folder: from }, to);
  }
}
