// Goal: an opening writes no checkpoint for a ring that a killed service left more than half full: that takes longer the more is mapped, and
//   guests wait. It is written beside them then.
// Method: changes fill the ring while the event loop has no turn, so that no checkpoint can begin; disk and state folder are kept as they are
//   then, and put back behind the end of that life.
import { closeSync, cpSync, openSync, readSync, rmSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import { labelAreaBytes } from '../../src/pool/format/geometry.ts';
import {
  recordAlignment,
  recordHeaderBytes,
  startsRecord,
} from '../../src/pool/format/journal-record.ts';
import { putRecord } from '../../src/pool/pool-records.ts';
import { Fixture, ManualClock, until } from './fixture.ts';

const changes = 160;

let fixture: Fixture;
afterEach(() => fixture?.close());

test('guests do not wait for a checkpoint that is due', async () => {
  const clock = new ManualClock();
  fixture = await Fixture.open({ clock });
  const disk = fixture.path('disk');
  await fixture.pools.create('gold', [`${disk}?size=64MiB`]);
  const pool = fixture.pools.get('gold');
  const used = () => fixture.pools.get('gold').info().journalUsedBytes;
  const last = pool.index.state.applied.position + (changes - 1) * recordAlignment;
  const committed = Array.from({ length: changes }, (_, at) =>
    pool.commit([putRecord('x/1', { at })]),
  );
  waitForRecord(disk, labelAreaBytes + last);
  keep(disk, fixture.path('kept-disk'));
  keep(fixture.stateDir, fixture.path('kept-state'));
  await Promise.all(committed);

  await fixture.restart(async () => {
    keep(fixture.path('kept-disk'), disk);
    keep(fixture.path('kept-state'), fixture.stateDir);
  });
  expect(fixture.pools.get('gold').record('x/1')).toEqual({ at: changes - 1 });
  expect(used()).toBeGreaterThan(MiB / 2);
  clock.advance(1000);
  await until(() => used() < MiB / 2);
});

/** Without a turn of the event loop. */
function waitForRecord(path: string, place: number): void {
  const file = openSync(path, 'r');
  const header = Buffer.alloc(recordHeaderBytes);
  const never = new Int32Array(new SharedArrayBuffer(4));
  while (!startsRecord(header)) {
    Atomics.wait(never, 0, 0, 1);
    readSync(file, header, 0, header.length, place);
  }
  closeSync(file);
}

function keep(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true });
}
