// Goal: the index is not closed while a region of a volume is still being read from it, and the data plane is not told what comes too late.
// Method: a loader over an index whose reading is held by the test, and a data plane that must not be spoken to.
import { expect, test } from 'vitest';
import { RegionLoader, type RegionLoaderParts } from '../../src/pool/region-loader.ts';

test('closing ends behind what is being read, of which the data plane is not told then', async () => {
  const done: string[] = [];
  let endReading = () => {};
  const reading = new Promise<never>((_, reject) => {
    endReading = () => reject(new Error('a region that cannot be read'));
  });
  const loader = new RegionLoader({
    index: { readChainRegion: () => reading } as unknown as RegionLoaderParts['index'],
    plane: {
      installRegion: () => done.push('installed'),
      regionFailed: () => done.push('failed'),
    } as unknown as RegionLoaderParts['plane'],
    onDamage: () => done.push('damage'),
  } as unknown as RegionLoaderParts);
  const loading = loader.load(0);
  const closing = loader.close().then(() => done.push('closed'));
  await new Promise(setImmediate);
  expect(done).toEqual([]);
  endReading();
  await Promise.all([loading, closing]);
  expect(done).toEqual(['damage', 'closed']);
});
