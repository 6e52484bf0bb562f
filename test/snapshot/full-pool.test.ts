// Goal: what copies for the control plane can use all the space that the pool says is free.
// Method: a volume that fills almost half of a pool, so that its copies need the rest, the part that the data plane was granted included.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { Fixture } from '../pool/fixture.ts';

const clusterBytes = 16 * KiB;

let fixture: Fixture;
let sizeBytes: number;
beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
  await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${48 * MiB}`], {
    clusterBytes,
  });
  const share = 0.47 * fixture.pools.get('p').freeBytes;
  sizeBytes = clusterBytes * Math.floor(share / clusterBytes);
});
afterEach(() => fixture.close());

async function overwrite(volume: string, value: number): Promise<void> {
  const { plane, close } = await fixture.volumes.open(volume);
  for (let at = 0; at < sizeBytes; at += clusterBytes) {
    await plane.write(at, Uint8Array.of(value));
  }
  await close();
}

test('copy on write', async () => {
  await fixture.volumes.create({ name: 'v', sizeBytes, snapshotMode: 'cow' });
  await overwrite('v', 1);
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
  await overwrite('v', 2);
  expect(fixture.pools.get('p').freeBytes).toBeLessThan(0.2 * sizeBytes);
});

test('flattening', async () => {
  await fixture.volumes.create({ name: 'v', sizeBytes });
  await overwrite('v', 1);
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
  await fixture.snapshots.clone({ volume: 'v', snapshot: 's' }, 'w');
  const { signal } = new AbortController();
  expect(await fixture.snapshots.flatten('w', () => {}, signal)).toEqual({ changed: true });
});
