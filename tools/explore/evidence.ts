/**
 * Evidence: the state that broke a promise, as files, because the same seed need not lead to it again: threads take turns as they like.
 *
 *   npx tsx tools/inspect.ts check FOLDER/disk0 FOLDER/disk1 …
 */
import { cpSync, mkdtempSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { MiB } from '../../src/base/units.ts';
import type { KeptMemory } from './kept-memory.ts';
import type { CutDisk } from './recording-plane.ts';

/** Writes each disk to a sparse file, and what the host remembered beside them; @returns the folder */
export async function keepEvidence(
  disks: readonly CutDisk[],
  memory: KeptMemory | undefined,
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'varve-broken-'));
  for (const disk of disks) await writeDisk(disk, join(folder, basename(disk.uri)));
  if (memory !== undefined) cpSync(memory.folder, join(folder, 'state'), { recursive: true });
  return folder;
}

async function writeDisk({ plane }: CutDisk, path: string): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.truncate(plane.sizeBytes);
    const blank = new Uint8Array(MiB);
    for (let at = 0; at < plane.sizeBytes; at += MiB) {
      const bytes = await plane.read(at, Math.min(MiB, plane.sizeBytes - at));
      if (Buffer.compare(bytes, blank.subarray(0, bytes.length)) === 0) continue;
      await file.write(bytes, 0, bytes.length, at);
    }
  } finally {
    await file.close();
  }
}
