/** What snapshots and volumes show, read by another program as a backup would. */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../tools/lib/command.ts';
import type { Service } from '../../tools/lib/service.ts';

/** A hash of all the bytes of a snapshot, or of a volume; it is exported for as long as it is read. */
export async function contentOf(
  service: Service,
  volume: string,
  snapshot?: string,
): Promise<string> {
  const name = `read-${volume}-${snapshot}`;
  const copy = join(service.folder, `${name}.raw`);
  writeFileSync(copy, '');
  await service.rest('PUT', `/v1/exports/${name}`, { volume, snapshot });
  await run('nbdcopy', [service.uri(name), copy]);
  await service.rest('DELETE', `/v1/exports/${name}?disconnect=true`);
  const content = readFileSync(copy);
  rmSync(copy);
  return createHash('sha256').update(content).digest('hex');
}
