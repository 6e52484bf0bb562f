/**
 * Lineage: may what this host remembers of a pool still be believed?
 *
 * Index and pending log describe a pool's disks only as long as nobody else opened the pool since. Each opening
 * takes the next lease epoch, so this file names the unbroken series of epochs that this state folder took:
 *
 *   since … epoch    taken by us, one after the other    served: the one whose pending log lies here
 *
 * It is written before the label that takes the epoch: the file may promise an epoch that was never taken (the label then
 * still names the one before, within the series), never the other way round.
 */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfThere, writeFileAtomically } from '../base/atomic-file.ts';
import type { Label } from './format/label.ts';
import { IndexStore } from './index-store.ts';

export interface Lineage {
  readonly since: number;
  readonly epoch: number;
  /** 0 when the series has not served yet. */
  readonly served: number;
}

function isLineage(value: unknown): value is Lineage {
  if (typeof value !== 'object' || value === null) return false;
  const { since, epoch, served } = value as Partial<Lineage>;
  return [since, epoch, served].every((each) => Number.isSafeInteger(each) && Number(each) >= 0);
}

/** What a host keeps of one pool. */
export class PoolFolder {
  constructor(readonly path: string) {}

  get indexPath(): string {
    return join(this.path, 'index');
  }

  get hasIndex(): boolean {
    return existsSync(this.indexPath);
  }

  get pendingLogPath(): string {
    return join(this.path, 'pending');
  }

  async readLineage(): Promise<Lineage | undefined> {
    const content = await readFileIfThere(this.#lineagePath);
    if (content === undefined) return undefined;
    try {
      const found: unknown = JSON.parse(content.toString('utf8'));
      return isLineage(found) ? found : undefined;
    } catch {
      return undefined;
    }
  }

  async writeLineage(lineage: Lineage): Promise<void> {
    await writeFileAtomically(this.#lineagePath, JSON.stringify(lineage));
  }

  /** The index gave wrong answers: the next opening builds a new one. */
  async condemnIndex(): Promise<void> {
    await writeFileAtomically(this.#condemnedPath, '');
  }

  async dropCondemnedIndex(): Promise<void> {
    if ((await readFileIfThere(this.#condemnedPath)) === undefined) return;
    await this.dropIndex();
    await rm(this.#condemnedPath, { force: true });
  }

  async dropIndex(): Promise<void> {
    await IndexStore.destroy(this.indexPath);
  }

  /** Forgets index and pending log: others changed the pool since. */
  async dropMemories(): Promise<void> {
    await this.dropIndex();
    await rm(this.pendingLogPath, { force: true });
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  get #lineagePath(): string {
    return join(this.path, 'lineage.json');
  }

  get #condemnedPath(): string {
    return join(this.path, 'index-damaged');
  }
}

/** Whether the label's epoch is one of the series, so that nobody else opened the pool since. */
export function continues(lineage: Lineage | undefined, label: Label, hostId: string): boolean {
  if (lineage === undefined || label.owner !== hostId) return false;
  return label.epoch >= lineage.since && label.epoch <= lineage.epoch;
}
