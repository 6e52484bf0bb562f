/**
 * What happens to a service beside its load, one after the other, as the seed chooses: each is begun, seen through and put right again.
 *
 * Each throws, or returns sentences, when something was refused or was not as it must be.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FillingClient, blockBytes as fillerBlockBytes } from '../../test/e2e/filling-client.ts';
import { until } from '../lib/until.ts';
import { findingsOnline } from '../torture/checks.ts';
import { ended } from '../torture/operations.ts';
import type { Choice } from '../torture/restarts.ts';
import type { Load } from './load.ts';
import { workOnVolume } from './scratch-volume.ts';
import type { Stage } from './stage.ts';

export interface Scene {
  readonly stage: Stage;
  readonly load: Load;
  readonly random: Choice;
}

export type Disturbance = (scene: Scene) => Promise<string[]>;

const MiB = 1024 * 1024;
/** Guests come first, also on a busy machine: only what hangs is an error. */
const settleMs = 600_000;

/** Of what was free before, as the guests write on. */
const spaceBack = 0.8;

/** Besides kills, which soak.ts does. */
export const disturbances: Readonly<Record<string, Disturbance>> = {
  'disk away': diskAway,
  'pool full': fillPool,
  'disk added and removed': addAndRemoveDisk,
  scrub,
  check: ({ stage }) => findingsOnline(stage.service),
  'volume worked on': ({ stage, random }) => workOnVolume(stage.service, random),
  'snapshots read': readSnapshots,
};

/** The target is killed, or stopped in its tracks, and comes back: everything that needs its disk waits. */
async function diskAway({ stage, load, random }: Scene): Promise<string[]> {
  const { service, target, remoteDisk } = stage;
  const awayMs = random(200, 6000);
  if (random(0, 2) === 0) {
    await target.kill();
    await delay(awayMs);
    await target.restart();
  } else {
    target.pause();
    await delay(awayMs);
    target.resume();
  }
  const isBack = async () => {
    const { items = [] } = await service.rest('GET', '/v1/disks');
    return items.every(({ state }) => state === 'online');
  };
  await until(isBack, { what: `${remoteDisk} online`, timeoutMs: settleMs, intervalMs: 100 });
  await load.progress(50);
  return [];
}

/** A guest takes all the space there is, and gives it back: the others wait meanwhile, at most. */
async function fillPool({ stage, load, random }: Scene): Promise<string[]> {
  const { service } = stage;
  // A flattening or a drain in a full pool fails, as it should.
  await load.pause();
  const { free_bytes: free } = await service.rest('GET', '/v1/pools/main');
  const blocks = Math.ceil((Number(free) * 1.1) / fillerBlockBytes);
  const shape = { size_bytes: blocks * fillerBlockBytes, pool: 'main' };
  await service.rest('PUT', '/v1/volumes/filler', shape);
  await service.rest('PUT', '/v1/exports/filler', { volume: 'filler' });
  const filler = new FillingClient(service.uri('filler'), { seed: random(1, 2 ** 31), blocks });
  filler.goOn();
  const isFull = async () => (await warnings(stage)).includes('pool/full');
  await until(isFull, { what: 'a full pool', timeoutMs: settleMs, intervalMs: 50 });
  await filler.probes(5);
  await filler.kill();
  await service.rest('DELETE', '/v1/exports/filler?disconnect=true');
  await service.rest('DELETE', '/v1/volumes/filler');
  // A deleted volume's space comes back behind its deletion, and a move that begins before would be refused.
  const hasSpace = async () => {
    const { free_bytes: now } = await service.rest('GET', '/v1/pools/main');
    return !(await isFull()) && Number(now) >= Number(free) * spaceBack;
  };
  await until(hasSpace, { what: 'space again', timeoutMs: settleMs, intervalMs: 50 });
  load.resume();
  await load.progress(50);
  return [];
}

async function warnings({ service }: Stage): Promise<unknown[]> {
  const { warnings: found } = await service.rest('GET', '/v1/pools/main');
  return (found as { code: string }[]).map(({ code }) => code);
}

async function addAndRemoveDisk({ stage, load }: Scene): Promise<string[]> {
  const { service } = stage;
  const file = join(service.folder, 'more.img');
  await load.movements.settled();
  await service.rest('POST', '/v1/disks', { pool: 'main', uri: `file:${file}?size=${256 * MiB}` });
  const rebalance = await service.rest('POST', '/v1/pools/main/actions/rebalance', {});
  await ended(service, rebalance, settleMs);
  const { items = [] } = await service.rest('GET', '/v1/disks');
  const disk = items.find(({ path }) => path === file)?.uuid;
  await ended(service, await service.rest('POST', `/v1/disks/${disk}/actions/drain`, {}), settleMs);
  await service.rest('DELETE', `/v1/disks/${disk}`);
  return [];
}

async function scrub({ stage }: Scene): Promise<string[]> {
  const { service } = stage;
  const scrubbing = await service.rest('POST', '/v1/pools/main/actions/scrub', {});
  await ended(service, scrubbing, settleMs);
  return [];
}

async function readSnapshots({ load }: Scene): Promise<string[]> {
  await load.pause();
  const wrong = await load.operator.judge();
  load.resume();
  return wrong;
}
