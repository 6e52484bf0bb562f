/**
 * Goal: the lease is held as long as any disk takes heartbeats, and not a moment longer; a disk that hangs costs nobody anything.
 * Method: a pool on two disks behind faults, with a lease of a second; what the labels say is read past the service.
 */
import { open } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FaultRule } from '../../src/dataplane/binding.ts';
import { labelBytes } from '../../src/pool/format/geometry.ts';
import { type Label, newestLabel } from '../../src/pool/format/label.ts';
import { leaseLeftMs, leaseTimes } from '../../src/pool/lease.ts';
import type { OpenVolume } from '../../src/volume/volume-service.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { Fixture } from './fixture.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const hang: FaultRule = { op: 'write', kind: 'hang' };
const refuse: FaultRule = { op: 'write', kind: 'error' };
const times = { ...leaseTimes(1_000), labelMs: 3_000 };
const slow = { timeout: 20_000, interval: 5 };

describe('the lease of a pool on two disks', () => {
  let plane: FaultyPlane;
  let fixture: Fixture;
  let volume: OpenVolume;
  beforeEach(async () => {
    plane = new FaultyPlane({ loops: 2 });
    fixture = await Fixture.open({ dataPlane: plane, leaseTimes: times });
    const uris = ['a', 'b'].map((name) => `file:${fixture.path(name)}?size=128MiB`);
    await fixture.pools.create('gold', uris);
    await fixture.volumes.create({ name: 'v', sizeBytes: 64 * MiB });
    volume = await fixture.volumes.open('v');
    await volume.plane.write(0, filled(1));
    await volume.plane.flush();
  });
  afterEach(async () => {
    plane.healAll();
    await volume.close();
    await fixture.close();
  });

  const filled = (value: number) => new Uint8Array(64 * KiB).fill(value);
  const kinds = () => fixture.events.map(({ kind }) => kind);
  const warnings = () => fixture.pools.list()[0]?.warnings.map(({ code }) => code) ?? [];

  async function label(name: string): Promise<Label> {
    const file = await open(fixture.path(name));
    const copies = Buffer.alloc(2 * labelBytes);
    await file.read(copies, 0, copies.length, 0);
    await file.close();
    return newestLabel(copies.subarray(0, labelBytes), copies.subarray(labelBytes));
  }

  /** Resolves when the disk took so many beats more. */
  async function beats(name: string, count: number): Promise<void> {
    const { generation } = await label(name);
    const now = async () => (await label(name)).generation;
    await expect.poll(now, slow).toBeGreaterThanOrEqual(generation + count);
  }

  test('every disk takes heartbeats', async () => {
    const before = await Promise.all(['a', 'b'].map(label));
    await Promise.all([beats('a', 3), beats('b', 3)]);
    const after = await Promise.all(['a', 'b'].map(label));
    after.forEach(({ heartbeatMs }, at) => {
      expect(heartbeatMs).toBeGreaterThan((before[at] as Label).heartbeatMs);
    });
  });

  test('a disk that hangs neither costs the lease nor gathers beats', async () => {
    plane.setFaults(fixture.path('b'), [hang]);
    const hung = await label('b');
    // Longer than a lease of the hung disk alone would last.
    await beats('a', 12);
    expect(kinds()).not.toContain('pool/lease-ran-out');
    expect((await label('b')).generation).toBe(hung.generation);
    plane.healAll();
    await beats('b', 1);
    // What hung lands, and the next beat is one more: had they gathered, they would come together.
    const { generation } = await label('b');
    expect(generation).toBeLessThanOrEqual(hung.generation + 3);
    expect((await label('a')).generation).toBeGreaterThan(generation + 5);
  });

  test('without a disk that takes heartbeats writes wait, and go on with the next one', async () => {
    for (const name of ['a', 'b']) plane.setFaults(fixture.path(name), [refuse]);
    await expect.poll(warnings, slow).toContain('pool/lease');
    let ended = false;
    const written = volume.plane.write(0, filled(2)).finally(() => {
      ended = true;
    });
    const refused = kinds().filter((kind) => kind === 'disk/heartbeat');
    expect(refused).toHaveLength(2);
    // Had it been given to a disk, it would have been refused by now.
    await volume.plane.map(0, 64 * KiB);
    expect(ended).toBe(false);
    plane.healAll();
    await written;
    await volume.plane.flush();
    expect((await volume.plane.read(0, 1))[0]).toBe(2);
    expect(warnings()).not.toContain('pool/lease');
    expect(kinds()).toContain('pool/lease-held');
  });

  test('a pool whose disks take nothing can be closed', async () => {
    for (const name of ['a', 'b']) plane.setFaults(fixture.path(name), [refuse]);
    await expect.poll(warnings, slow).toContain('pool/lease');
    await fixture.pools.close();
    expect(kinds()).toContain('pool/failed');
  });
});

describe('whose lease it is', () => {
  const clock = { nowMs: () => 100_000, every: () => () => {} };
  const claim = { clock, hostId: 'us', times: leaseTimes() };
  const disk = (heartbeatMs: number) => ({ label: { heartbeatMs } as Label });
  const truth = { owner: 'them' } as Label;

  test('the newest heartbeat of any disk counts', () => {
    const disks = [disk(1_000), disk(95_000), disk(0)];
    expect(leaseLeftMs(disks, truth, claim)).toBe(25_000);
    expect(leaseLeftMs([disk(70_000), disk(1_000)], truth, claim)).toBe(0);
  });

  test('a heartbeat from the future is alive', () => {
    expect(leaseLeftMs([disk(110_000)], truth, claim)).toBe(40_000);
  });

  test('our own and nobody’s are free', () => {
    expect(leaseLeftMs([disk(99_000)], { owner: 'us' } as Label, claim)).toBe(0);
    expect(leaseLeftMs([disk(99_000)], { owner: null } as Label, claim)).toBe(0);
  });

  test('an owner holds back before others may take over, and settling outlasts a heartbeat', () => {
    const { heartbeatMs, validMs, leaseMs, settleMs, labelMs } = leaseTimes();
    expect(validMs).toBeLessThanOrEqual(leaseMs - 10_000);
    expect(settleMs).toBeGreaterThan(heartbeatMs);
    expect(settleMs).toBeGreaterThan(labelMs);
    expect(validMs).toBeGreaterThan(heartbeatMs + settleMs);
  });
});
