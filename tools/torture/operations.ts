/** Long work of a service, as a client of REST sees it: still going on, done, or an error. */
import type { Document, Service } from '../lib/service.ts';
import { until } from '../lib/until.ts';

/** @throws Error it failed or was cancelled */
export async function hasEnded(service: Service, id: unknown): Promise<boolean> {
  const operation = await service.rest('GET', `/v1/operations/${id}`);
  if (operation.state === 'pending' || operation.state === 'running') return false;
  if (operation.state === 'succeeded') return true;
  throw new Error(`an operation ended badly: ${JSON.stringify(operation)}`);
}

/** Waits until no long work goes on, or none of the volume. @throws Error it takes too long */
export async function quiet(
  service: Service,
  { volume, timeoutMs = 120_000 }: { readonly volume?: string; readonly timeoutMs?: number } = {},
): Promise<void> {
  const isQuiet = async () => {
    const { items = [] } = await service.rest('GET', '/v1/operations');
    const going = items.filter(({ state }) => state === 'running' || state === 'pending');
    return going.every(({ target }) => volume !== undefined && target !== volume);
  };
  const what = `the end of all operations${volume === undefined ? '' : ` of ${volume}`}`;
  await until(isQuiet, { what, timeoutMs, intervalMs: 50 });
}

/** Waits for what an answer says is under way; an answer that is no operation is the end already. @throws Error it failed, or takes too long */
export async function ended(
  service: Service,
  answer: Document,
  timeoutMs = 120_000,
): Promise<void> {
  if (answer.kind !== 'Operation') return;
  const what = `the end of operation ${answer.id}`;
  await until(() => hasEnded(service, answer.id), { what, timeoutMs, intervalMs: 50 });
}
