/**
 * Two services that stand for two hosts with the same disks: each has its own state folder, so its own host uuid, and neither sees the
 * other's file locks. Their lease takes a tenth of its time; nothing else about it differs.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Service } from '../../tools/lib/service.ts';

export const leaseMs = 3_000;
/** Labels lie before it; heartbeats change them all the time. */
const labelAreaBytes = 64 * 1024;

export class TwoHosts {
  private constructor(
    readonly folder: string,
    readonly a: Service,
    readonly b: Service,
    readonly disks: readonly string[],
  ) {}

  /** Host A has pool `main` on `count` files. */
  static async start(options: {
    size: string;
    count: number;
    backend?: string;
  }): Promise<TwoHosts> {
    const folder = mkdtempSync(join(tmpdir(), 'varve-hosts-'));
    const env = { ...process.env, LD_PRELOAD: buildUnlocked(folder) };
    const backend = options.backend === undefined ? '' : `backend = "${options.backend}"\n`;
    const settings = `test_lease_ms = ${leaseMs}\n${backend}`;
    const a = await Service.start({ settings, env });
    const b = await Service.start({ settings, env });
    const disks = Array.from({ length: options.count }, (_, at) => join(folder, `disk${at}.img`));
    await a.varve(
      'pool',
      'create',
      'main',
      ...disks.map((disk) => `file:${disk}?size=${options.size}`),
    );
    return new TwoHosts(folder, a, b, disks);
  }

  /** Tries again as long as the pool is held. @returns how often that was */
  async importWhenFree(host: Service): Promise<number> {
    for (let refused = 0; ; refused++) {
      const { status, stderr } = await host.outcome(['pool', 'import', ...this.disks]);
      if (status === 0) return refused;
      if (!stderr.includes('pool/held')) throw new Error(stderr);
    }
  }

  /** Of everything behind the labels. */
  content(): string {
    const hash = createHash('sha256');
    for (const disk of this.disks) hash.update(readFileSync(disk).subarray(labelAreaBytes));
    return hash.digest('hex');
  }

  async dispose(): Promise<void> {
    await this.a.dispose();
    await this.b.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function buildUnlocked(folder: string): string {
  const library = join(folder, 'unlocked.so');
  const source = resolve(import.meta.dirname, 'clients/unlocked.c');
  execFileSync('g++', ['-x', 'c', '-shared', '-fPIC', '-o', library, source]);
  return library;
}
