/** A synthetic map for a volume of a running service: synthetic-map.ts works on its state folder while it is stopped. */
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import type { Service } from '../lib/service.ts';
import { secondsOf } from './chain-disks.ts';

const synthesizer = join(import.meta.dirname, 'synthetic-map.ts');
const synthesisMs = 2 * 3_600_000;

/** Every cluster of the volume, which has none yet, has a place afterwards. @returns seconds that the making took */
export async function mapWhole(service: Service, volume: string): Promise<number> {
  await service.stop();
  const program = ['--import', 'tsx', synthesizer, service.state, volume];
  const made = await secondsOf(() => run(process.execPath, program, { timeoutMs: synthesisMs }));
  await service.restart();
  return made;
}
