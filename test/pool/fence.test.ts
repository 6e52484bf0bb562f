/**
 * Goal: an owner whose lease is lost, or whose pool failed here, writes nothing any more, and says so to its clients.
 * Method: two services on the same open disks of one data plane, which the locks of files would otherwise keep apart; the
 *   second takes the pool over, the first finds out at its next heartbeat. The disks' bytes are compared.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DiskSpec } from '../../src/dataplane/binding.ts';
import { DataPlane, DiskPlane } from '../../src/dataplane/data-plane.ts';
import type { Pools } from '../../src/pool/pools.ts';
import { type OpenVolume, VolumeService } from '../../src/volume/volume-service.ts';
import { Fixture, ManualClock } from './fixture.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const EIO = { errno: 5 };

class SharedDisk extends DiskPlane {
  override async close(): Promise<void> {}

  end(): Promise<void> {
    return super.close();
  }
}

/** Every path is opened once, whoever asks. */
class SharingPlane extends DataPlane {
  readonly #disks = new Map<string, SharedDisk>();

  override async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const path = spec.path ?? '';
    const known = this.#disks.get(path);
    if (known !== undefined) return known;
    const { handle, sizeBytes } = await super.openDisk(spec);
    const disk = new SharedDisk(this, handle, sizeBytes);
    this.#disks.set(path, disk);
    return disk;
  }

  async end(): Promise<void> {
    for (const disk of this.#disks.values()) await disk.end();
  }
}

describe('a fenced owner', () => {
  let clock: ManualClock;
  let plane: SharingPlane;
  let fixture: Fixture;
  let volume: OpenVolume;
  beforeEach(async () => {
    clock = new ManualClock();
    plane = new SharingPlane({ loops: 2 });
    // Longer than the test: what nobody flushes stays in memory.
    fixture = await Fixture.open({ clock, dataPlane: plane, flushWindowMs: 600_000 });
    const uris = ['a', 'b'].map((name) => `file:${fixture.path(name)}?size=128MiB`);
    await fixture.pools.create('gold', uris);
    await fixture.volumes.create({ name: 'v', sizeBytes: 1024 * MiB });
    volume = await fixture.volumes.open('v');
    await volume.plane.write(0, filled(1));
    await volume.plane.flush();
  });
  afterEach(async () => {
    await volume.close();
    await fixture.pools.close();
    await plane.end();
    await fixture.close();
  });

  const filled = (value: number) => new Uint8Array(64 * KiB).fill(value);
  const isFailed = () => fixture.pools.list()[0]?.state === 'failed';

  async function takeOver(): Promise<Pools> {
    const other = await fixture.openPools(fixture.path('other-state'));
    await other.import([fixture.path('a'), fixture.path('b')], { takeover: true });
    return other;
  }

  async function content(): Promise<string> {
    const hash = createHash('sha256');
    for (const name of ['a', 'b']) hash.update(await readFile(fixture.path(name)));
    return hash.digest('hex');
  }

  /** Writes, flushes, trims and reads as a client that knows nothing. */
  async function expectRefused(): Promise<void> {
    await expect(volume.plane.write(0, filled(3))).rejects.toMatchObject(EIO);
    await expect(volume.plane.write(900 * MiB, filled(3))).rejects.toMatchObject(EIO);
    await expect(volume.plane.write(0, filled(3), { fua: true })).rejects.toMatchObject(EIO);
    await expect(volume.plane.trim(0, 64 * KiB)).rejects.toMatchObject(EIO);
    await expect(volume.plane.zero(1, 64 * KiB)).rejects.toMatchObject(EIO);
    await expect(volume.plane.flush()).rejects.toMatchObject(EIO);
  }

  test('writes nothing after its heartbeat found another, and reads nothing', async () => {
    await volume.plane.write(512 * MiB, filled(2));
    const other = await takeOver();
    clock.advance(5_000);
    await expect.poll(isFailed, { interval: 1 }).toBe(true);
    const before = await content();
    await expectRefused();
    await expect(volume.plane.read(0, 4096)).rejects.toMatchObject(EIO);
    await expect(fixture.volumes.delete('v')).rejects.toMatchObject({ code: 'volume/busy' });
    const grown = fixture.volumes.resize('v', 2048 * MiB);
    await expect(grown).rejects.toMatchObject({ code: 'pool/failed' });
    await volume.close();
    await fixture.pools.close();
    expect(await content()).toBe(before);
    await expectWhole(other, 1, 0);
  });

  test('does not write a checkpoint over the new owner, whose space it would take', async () => {
    const other = await takeOver();
    const before = await content();
    // No heartbeat in between: closing finds out by itself.
    await volume.close();
    await fixture.pools.close();
    expect(await content()).toBe(before);
    await expectWhole(other, 1, 0);
  });

  test('a pool that failed here answers EIO to writers, and still reads', async () => {
    await plane.openDisk({ kind: 'file', path: fixture.path('a') }).then(async (disk) => {
      // Both labels: whoever reads them next cannot tell whose disk this is.
      await disk.write(0, new Uint8Array(8 * KiB));
    });
    clock.advance(5_000);
    await expect.poll(isFailed, { interval: 1 }).toBe(true);
    const before = await content();
    await expectRefused();
    expect(await volume.plane.read(0, 64 * KiB)).toEqual(Buffer.from(filled(1)));
    expect(await content()).toBe(before);
  });

  async function expectWhole(pools: Pools, atZero: number, atHalf: number): Promise<void> {
    const volumes = new VolumeService({ pools, clock, emit() {} });
    const opened = await volumes.open('v');
    expect((await opened.plane.read(0, 1))[0]).toBe(atZero);
    expect((await opened.plane.read(512 * MiB, 1))[0]).toBe(atHalf);
    await opened.plane.write(0, filled(9), { fua: true });
    await opened.close();
    expect((await pools.check('gold')).findings).toEqual([]);
    await pools.close();
  }
});
