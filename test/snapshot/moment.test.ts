// Goal: a snapshot that was made for an operation goes when that does not go on; one that is used, and everybody else's, stay.
// Method: snapshots as operations and people make them, and a list of what is used.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import { dropAbandonedMoments } from '../../src/snapshot/moment.ts';
import { Fixture } from '../pool/fixture.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await Fixture.open();
  await fixture.pools.create('p', [`file:${fixture.path('a')}?size=64MiB`]);
  await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
});
afterEach(() => fixture.close());

test('what no operation uses is dropped, also behind a restart', async () => {
  for (const snapshot of ['used', 'left']) {
    await fixture.snapshots.create({ names: [{ volume: 'v', snapshot }], origin: 'operation' });
  }
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 'mine' }] });
  await fixture.restart();
  await dropAbandonedMoments(fixture, ({ snapshot }) => snapshot === 'used');
  expect(
    fixture.snapshots
      .list('v')
      .map(({ name }) => name)
      .sort(),
  ).toEqual(['mine', 'used']);
});
