/** Whether a pool is whole, asked of the running service or read from the disks that it left. */
import type { Service } from '../lib/service.ts';

/** @returns a sentence for each thing that the service finds wrong with pool `main` while it serves */
export async function findingsOnline(service: Service): Promise<string[]> {
  const { findings } = await service.rest('POST', '/v1/pools/main/actions/check');
  return (findings as object[]).map((finding) => `pool check: ${JSON.stringify(finding)}`);
}

/** Stops the service. @returns what is wrong with its end, or with what it left on its disks */
export async function findingsAfterStop(
  service: Service,
  disks: readonly string[],
): Promise<string[]> {
  const { status, signal } = await service.stop();
  const wrong = status === 0 ? [] : [`the service ended with ${status ?? signal}`];
  const check = await service.outcome(['pool', 'check', '--offline', ...disks]);
  if (check.status !== 0) wrong.push(`offline check: ${check.stdout}${check.stderr}`);
  return wrong;
}
