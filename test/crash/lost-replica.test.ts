// Goal: while a replica of the journal is left behind, and while it begins again, a power cut loses nothing that was flushed: a stale ring is never
//   taken for the truth.
// Method: recorded disks, the last of which hangs on demand: what it is asked meanwhile is carried out when it answers again. Every moment is
//   cut, with everything kept that was submitted and with nothing kept that was not synced; each state is checked offline, imported from
//   all disks, and compared.
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FaultRule } from '../../src/dataplane/binding.ts';
import { until } from '../pool/fixture.ts';
import { FaultyRecordingPlane } from './faulty-recording-plane.ts';
import { RecordedPool } from './recorded-pool.ts';

/** Some hundred states, each opened, checked and compared. */
const patienceMs = 600_000;

let recorded: RecordedPool<FaultyRecordingPlane>;
beforeEach(async () => {
  const planeOf = (sizes: ReadonlyMap<string, number>) => new FaultyRecordingPlane(sizes);
  recorded = await RecordedPool.create({ diskCount: 2, memberCount: 2, planeOf });
});
afterEach(() => recorded.dispose());

const kinds = () => recorded.events.map(({ kind }) => kind);
const setFaults = (rules: readonly FaultRule[]) =>
  recorded.plane.setFaults(recorded.disks[1] as string, rules);

async function lose(op: FaultRule['op']): Promise<void> {
  setFaults([{ op, kind: 'hang' }]);
  await until(() => kinds().includes('pool/journal-replica-lost'));
}

async function regain(): Promise<void> {
  setFaults([]);
  await until(() => kinds().includes('pool/journal-replica-begun'));
}

test.each(['write', 'sync', 'any'] as const)(
  'a replica of which each %s hangs is left behind, cut at every moment',
  async (op) => {
    const span = await recorded.whileWriting(3, () => lose(op));
    setFaults([]);
    await recorded.pools.close();
    expect(await recorded.cutAll(span)).toEqual([]);
  },
  patienceMs,
);

test(
  'it begins again, behind what had hung, cut at every moment',
  async () => {
    await recorded.whileWriting(3, () => lose('any'));
    const [from] = await recorded.whileWriting(0, regain);
    const [, to] = await recorded.whileWriting(3, async () => {});
    await recorded.pools.close();
    expect(await recorded.cutAll([from, to])).toEqual([]);
  },
  patienceMs,
);
