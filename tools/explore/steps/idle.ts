/**
 * Guests that write and never flush: what they wrote is durable all the same before long (rule 8).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { judge } from '../afterlife.ts';
import type { World } from '../world.ts';
import { batch } from './io.ts';

/** Five hundred windows: only a window that never ends takes so long, on any machine. */
const durableMsMax = 10_000;
const lookMs = 40;

/** @throws Error what was written stays lost to a power cut */
export async function idle(world: World): Promise<void> {
  await batch(world, world.live, { flushing: false });
  const giveUpAt = performance.now() + durableMsMax;
  await world.timeline.during('idle', async () => {
    for (;;) {
      await delay(lookMs);
      const lost = await lostNow(world);
      if (lost.length === 0) return;
      if (performance.now() > giveUpAt) {
        throw new Error(`not durable after ${durableMsMax} ms without a flush: ${lost.join('; ')}`);
      }
    }
  });
}

/** What a power cut would take of what was acknowledged, if it came now and spared nothing that was not synced. */
async function lostNow(world: World): Promise<readonly string[]> {
  const { plane, timeline, live, folder } = world;
  const moment = timeline.now();
  const covered = live.map(({ life }) => life.model.beginFlush());
  const state = await plane.cut({ moment, seed: 1 });
  for (const [at, { life }] of live.entries()) life.model.flushed(covered[at] ?? [], moment);
  const { sentences } = await judge(
    plane,
    { ...state, moment, memory: undefined, salvage: false },
    world,
    folder,
  );
  state.dispose();
  if (sentences.length === 0) {
    timeline.promised();
    return [];
  }
  for (const [at, { life }] of live.entries()) life.model.notFlushed(covered[at] ?? []);
  return sentences;
}
