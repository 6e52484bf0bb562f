/** What a service left when a promise was broken, kept for whoever looks into it: its disks, its state, its log and the clients' models. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import type { Service } from '../lib/service.ts';

/** Ends the service and copies its folder. @returns where to */
export async function keepEvidence(service: Service): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'varve-broken-'));
  writeFileSync(join(folder, 'service.log'), service.log);
  await service.kill9();
  await run('cp', ['-a', '--sparse=always', `${service.folder}/.`, folder]);
  return folder;
}
