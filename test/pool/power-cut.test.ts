/**
 * Goal: whatever a power cut leaves of the disks, the pool comes back from them alone; every flushed block is there, every
 *   other is old or new, space adds up.
 * Method: a workload on two recording disks with small rings (so that checkpoints happen), then cuts at random moments, each
 *   opened with a fresh state folder and checked against the history of every block. SEED replays, CUTS sets how many.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DiskSpec } from '../../src/dataplane/binding.ts';
import { DataPlane, DiskPlane, type VolumePlane } from '../../src/dataplane/data-plane.ts';
import { PoolFolder } from '../../src/pool/lineage.ts';
import { checkOnline } from '../../src/pool/online-check.ts';
import { Pool } from '../../src/pool/pool.ts';
import { planPool, writePool } from '../../src/pool/pool-creation.ts';
import { putRecord } from '../../src/pool/pool-records.ts';
import { recoverPool } from '../../src/pool/recovery.ts';
import { ManualClock, quietLog, testLeaseTimes } from './fixture.ts';

const MiB = 1024 * 1024;
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const cuts = Number(process.env.CUTS ?? 100);
const diskBytes = 16 * MiB;
const clusterBytes = 16 * 1024;
/** A sector, which no power cut tears; two share a sub-block. */
const blockBytes = 512;
/** Blocks of the volume that are written; the distance makes several leaves and regions. */
const blocks = 200;
const groups = 20;
/** Blocks of one group lie in one cluster. */
const groupOffset = (group: number) => group * 48 * MiB;
const blockOffset = (block: number) =>
  groupOffset(block % groups) + Math.floor(block / groups) * blockBytes;
const volumeOptions = {
  key: 'v1',
  chain: () => [1],
  writable: true,
  copyOnWrite: false,
  sizeBytes: 1024 * MiB,
  target: {},
};
const locations = ['disk0', 'disk1'].map((path) => ({ uri: path, path, kind: 'file' as const }));

/** Opens disks by name: recording ones at first, then what a cut left of them. */
class CuttingPlane extends DataPlane {
  readonly recordings = new Map<string, DiskPlane>();
  #after: Map<string, DiskPlane> | undefined;

  override async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const disks = this.#after ?? this.recordings;
    const disk = disks.get(spec.path ?? '');
    if (disk === undefined) throw new Error(`no disk ${spec.path}`);
    return disk;
  }

  async record(path: string): Promise<void> {
    const disk = await super.openDisk({ kind: 'recording', sizeBytes: diskBytes });
    // The pool is created and opened on one recording: closing must wait for the end of the test.
    this.recordings.set(path, new LastingDisk(disk));
  }

  get moment(): number {
    return this.addon.recordingMoment();
  }

  cut(at: number, cutSeed: number): void {
    this.#after = new Map();
    for (const [path, disk] of this.recordings) {
      const left = this.addon.recordingCut(disk.handle, at, cutSeed, 0, 0);
      this.#after.set(path, new DiskPlane(this, left.disk, disk.sizeBytes));
    }
  }
}

class LastingDisk extends DiskPlane {
  constructor(readonly disk: DiskPlane) {
    super(disk.plane, disk.handle, disk.sizeBytes);
  }

  override async close(): Promise<void> {}

  end(): Promise<void> {
    return this.disk.close();
  }
}

/** What one block may hold after a cut at a given moment. */
class BlockHistory {
  readonly #writes: { readonly stamp: number; readonly submittedAt: number }[] = [
    { stamp: 0, submittedAt: -1 },
  ];
  readonly #flushed: { readonly stamp: number; readonly at: number }[] = [{ stamp: 0, at: -1 }];

  submitted(stamp: number, at: number): void {
    this.#writes.push({ stamp, submittedAt: at });
  }

  flushed(at: number): void {
    const { stamp } = this.#writes.at(-1) as { stamp: number };
    this.#flushed.push({ stamp, at });
  }

  /** Stamps from the last one flushed before the cut to the last one submitted before it, in order. */
  allowedAt(cut: number): number[] {
    const floor = this.#flushed.filter(({ at }) => at <= cut).at(-1)?.stamp ?? 0;
    const first = this.#writes.findIndex(({ stamp }) => stamp === floor);
    return this.#writes
      .slice(first)
      .filter(({ submittedAt }) => submittedAt <= cut)
      .map(({ stamp }) => stamp);
  }
}

function makeRandom(from: number): () => number {
  let state = from || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

describe(`power cut, seed ${seed}`, () => {
  const clock = new ManualClock();
  const histories = Array.from({ length: blocks }, () => new BlockHistory());
  const createdAt: { cut: number } = { cut: 0 };
  let folder: string;
  let plane: CuttingPlane;
  let pool: Pool;
  let hosts = 0;

  async function openPool(): Promise<Pool> {
    hosts += 1;
    const host = await mkdtemp(join(folder, 'host-'));
    const recovered = await recoverPool({
      dataPlane: plane,
      clock,
      locations,
      hostId: `00000000-0000-4000-8000-${String(hosts).padStart(12, '0')}`,
      takeover: true,
      remembered: false,
      isRetry: false,
      expectWanted() {},
      times: testLeaseTimes,
      accept() {},
      folderOf: async () => new PoolFolder(host),
    });
    const options = { flushWindowMs: 1000, patienceSeconds: 0, leaseTimes: testLeaseTimes };
    const services = { dataPlane: plane, clock, log: quietLog, emit() {}, ...options };
    return Pool.start(recovered, services);
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'varve-cut-'));
    plane = new CuttingPlane({ loops: 2 });
    for (const { path } of locations) await plane.record(path);
    const plans = locations.map((location) => ({
      location,
      sizeBytes: diskBytes,
      create: false,
      identity: location.path,
    }));
    await writePool(
      plane,
      planPool({ name: 'gold', clusterBytes, plans, clock, settings: { patienceSeconds: 0 } }),
    );
    createdAt.cut = plane.moment;
    pool = await openPool();
    await runWorkload();
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function runWorkload(): Promise<void> {
    const random = makeRandom(seed);
    const volume = await pool.openVolume(volumeOptions);
    for (let stamp = 1; stamp <= 2500; stamp++) {
      const block = random() % blocks;
      if (random() % 30 === 0) await trimGroup(volume, block % groups, -stamp);
      else if (random() % 8 === 0) await zero(volume, block, -stamp);
      else await write(volume, block, stamp);
      if (random() % 12 === 0) await flush(volume);
      if (random() % 100 === 0) await pool.commit([putRecord('note', { stamp })]);
    }
    await pool.closeVolume(volumeOptions.key);
  }

  async function write(volume: VolumePlane, block: number, stamp: number): Promise<void> {
    histories[block]?.submitted(stamp, plane.moment);
    const bytes = new Uint8Array(blockBytes).fill(stamp & 0xff);
    new DataView(bytes.buffer).setInt32(0, stamp, true);
    await volume.write(blockOffset(block), bytes);
  }

  /** Its stamp is negative, in the history only. */
  async function zero(volume: VolumePlane, block: number, stamp: number): Promise<void> {
    histories[block]?.submitted(stamp, plane.moment);
    await volume.zero(blockOffset(block), blockBytes);
  }

  /** The cluster has nothing left and is given up. */
  async function trimGroup(volume: VolumePlane, group: number, stamp: number): Promise<void> {
    for (let block = group; block < blocks; block += groups) {
      histories[block]?.submitted(stamp, plane.moment);
    }
    await volume.trim(groupOffset(group), clusterBytes);
  }

  async function flush(volume: VolumePlane): Promise<void> {
    await volume.flush();
    for (const history of histories) history.flushed(plane.moment);
  }

  async function expectBlocks(survivor: Pool, cut: number, name: string): Promise<void> {
    const volume = await survivor.openVolume(volumeOptions);
    for (const [block, history] of histories.entries()) {
      const bytes = await volume.read(blockOffset(block), blockBytes);
      const stamp = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
      const allowed = history.allowedAt(cut).map((value) => Math.max(0, value));
      expect(allowed, `${name}, block ${block}`).toContain(stamp);
      const whole = bytes.subarray(4).every((byte) => byte === (stamp & 0xff));
      expect(whole, `${name}, block ${block} is in one piece`).toBe(true);
    }
    await survivor.closeVolume(volumeOptions.key);
  }

  test(
    `${cuts} cuts`,
    async () => {
      const random = makeRandom(seed + 1);
      const end = plane.moment;
      expect(pool.disks.every(({ label }) => label.checkpoint !== null)).toBe(true);
      await pool.close();
      for (let count = 0; count < cuts; count++) {
        const cut = createdAt.cut + (random() % (end - createdAt.cut));
        const cutSeed = count % 5;
        const name = `SEED=${seed} cut ${cut} (${cutSeed})`;
        plane.cut(cut, cutSeed === 4 ? random() : cutSeed);
        const survivor = await openPool();
        await expectBlocks(survivor, cut, name);
        expect((await checkOnline(survivor)).findings, name).toEqual([]);
        await survivor.close();
      }
      for (const disk of plane.recordings.values()) await (disk as LastingDisk).end();
      plane.stop();
    },
    cuts * 1000,
  );
});
