/**
 * The whole life of a volume, in one go: made, written, snapshot, overwritten, cloned, grown, trimmed, reverted, under a schedule, and deleted with everything; what
 * each must show is read back after every step.
 */
import { run } from '../lib/command.ts';
import type { Service } from '../lib/service.ts';
import { ended } from '../torture/operations.ts';
import type { Choice } from '../torture/restarts.ts';

const MiB = 1024 * 1024;
/** Guests come first, also on a busy machine: only what hangs is an error. */
const settleMs = 600_000;

export async function workOnVolume(service: Service, random: Choice): Promise<string[]> {
  const mode = random(0, 2) === 0 ? 'row' : 'cow';
  const thick = random(0, 3) === 0;
  const size = random(4, 12);
  const [before, after] = [random(1, 128), random(128, 256)];
  const shape = { size_bytes: size * MiB, pool: 'main', snapshot_mode: mode, thick };
  await ended(service, await service.rest('PUT', '/v1/volumes/scratch', shape), settleMs);
  await service.rest('PUT', '/v1/exports/scratch', { volume: 'scratch' });
  const schedule = { every_seconds: 60, keep_last: 2 };
  await service.rest('PUT', '/v1/schedules/scratch', schedule);
  await io(service, 'scratch', `write -P ${before} 0 ${size}M`, 'flush');
  await service.rest('POST', '/v1/snapshots', { names: ['scratch@before'] });
  await io(service, 'scratch', `write -P ${after} 0 ${size - 1}M`, 'discard 0 1M');

  await service.rest('POST', '/v1/volumes/twin/actions/clone', { source: 'scratch@before' });
  await service.rest('PUT', '/v1/exports/twin', { volume: 'twin' });
  await io(service, 'twin', `read -P ${before} 0 ${size}M`);
  await service.rest('PATCH', '/v1/volumes/scratch', { size_bytes: (size + 4) * MiB });
  await io(service, 'scratch', 'read -P 0 0 1M', `read -P ${after} 1M ${size - 2}M`);
  await io(service, 'scratch', `read -P ${before} ${size - 1}M 1M`, `read -P 0 ${size}M 4M`);

  const revert = { snapshot: 'before', force: true };
  const reverting = await service.rest('POST', '/v1/volumes/scratch/actions/revert', revert);
  await ended(service, reverting, settleMs);
  await io(service, 'scratch', `read -P ${before} 0 ${size}M`);
  await io(service, 'twin', `write -P ${after} 0 1M`, `read -P ${before} 1M ${size - 1}M`);

  await service.rest('DELETE', '/v1/schedules/scratch');
  for (const volume of ['twin', 'scratch']) {
    await service.rest('DELETE', `/v1/exports/${volume}?disconnect=true`);
    await service.rest('DELETE', `/v1/volumes/${volume}?with_snapshots=true`);
  }
  return [];
}

/** @throws Error a step failed, or what it reads is something else */
async function io(service: Service, volume: string, ...steps: string[]): Promise<void> {
  const args = ['-f', 'raw', ...steps.flatMap((step) => ['-c', step]), service.uri(volume)];
  const output = await run('qemu-io', args, { timeoutMs: settleMs });
  if (/verification failed|error/i.test(output)) throw new Error(`${volume}: ${output}`);
}
