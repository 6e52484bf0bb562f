// Goal: a pool that is closed because the next process waits for it keeps nobody waiting for a checkpoint, and loses nothing.
// Method: records are committed and the pool is closed; what the label on its disk names as the journal's tail tells whether a checkpoint was written. One that is
//   under way is held by the test at a cluster of its chain until the closing has begun.
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import type { PoolSpec } from '../../src/dataplane/binding.ts';
import {
  DataPlane,
  type DiskPlane,
  type PatientDiskPlane,
  type PoolListener,
  type PoolPlane,
} from '../../src/dataplane/data-plane.ts';
import { type Label, newestLabel } from '../../src/pool/format/label.ts';
import { putRecord } from '../../src/pool/pool-records.ts';
import { Fixture, until } from './fixture.ts';

/** From the control plane come labels, which lie before it, and checkpoints. */
const firstClusterMin = 64 * 1024;
const noteBytes = 10_000;
/** While it is held, whoever writes a checkpoint waits. */
const chain = { isHeld: false, waiting: 0, goOn: () => {}, gone: Promise.resolve() };
let fixture: Fixture;

class HeldPlane extends DataPlane {
  override async openPatientDisk(inner: DiskPlane, patienceMs: number): Promise<PatientDiskPlane> {
    const disk = await super.openPatientDisk(inner, patienceMs);
    const write = disk.write.bind(disk);
    disk.write = async (offset, bytes) => {
      if (chain.isHeld && offset >= firstClusterMin) {
        chain.waiting += 1;
        await chain.gone;
      }
      return write(offset, bytes);
    };
    return disk;
  }

  override async openPool(spec: PoolSpec, listener: PoolListener): Promise<PoolPlane> {
    const plane = await super.openPool(spec, listener);
    const close = plane.close.bind(plane);
    // Whoever closes the pool has its turn first.
    plane.close = () => close().finally(() => setImmediate(chain.goOn));
    return plane;
  }
}

beforeEach(async () => {
  chain.isHeld = false;
  chain.waiting = 0;
  chain.gone = new Promise<void>((resolve) => {
    chain.goOn = resolve;
  });
  fixture = await Fixture.open({ dataPlane: new HeldPlane({ loops: 1 }) });
  await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${64 * MiB}`]);
});
afterEach(() => fixture.close());

function label(): Label {
  const bytes = readFileSync(fixture.path('disk')).subarray(0, 8192);
  return newestLabel(bytes.subarray(0, 4096), bytes.subarray(4096));
}

/** Where the next opening begins to read the journal if it has nothing but the disk. */
const tail = () => label().tailSequence;

function note(n: number, text = '') {
  return fixture.pools.get('p').commit([putRecord('note', { n, text })]);
}

test('a pool that is closed writes a checkpoint of what is new', async () => {
  const before = tail();
  await note(1);
  await fixture.pools.close();
  expect(tail()).toBeGreaterThan(before);
});

test('closed soon it writes none, and the next opening finds what is new in the journal', async () => {
  const before = tail();
  await note(1);
  await fixture.pools.close({ soon: true });
  expect(tail()).toBe(before);
  expect(label().heartbeatMs).toBe(0);
  await fixture.start();
  expect(fixture.pools.get('p').record('note')).toEqual({ n: 1, text: '' });
});

test('closed soon it gives up a checkpoint that is under way', async () => {
  const before = tail();
  chain.isHeld = true;
  const count = Math.ceil(label().journalBytes / 2 / noteBytes);
  for (let n = 0; n <= count; n++) await note(n, 'x'.repeat(noteBytes));
  await until(() => chain.waiting > 0);
  await fixture.pools.close({ soon: true });
  expect(tail()).toBe(before);
  expect(label().heartbeatMs).toBe(0);
  expect(fixture.events.filter(({ level }) => level === 'error')).toEqual([]);
  await fixture.start();
  expect(fixture.pools.get('p').record('note')).toMatchObject({ n: count });
});
