/**
 * One state that a power cut may leave: checked offline, imported by another host from the disks alone or by the same one with
 * what it remembers, and every volume compared with what the moment of the cut had promised.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { leaseTimes } from '../../src/pool/lease.ts';
import { Pools } from '../../src/pool/pools.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { imageViolations } from './durability-model.ts';
import type { KeptMemory } from './kept-memory.ts';
import type { Life, SnapshotLife, VolumeLife } from './life.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

export interface Cut {
  readonly moment: number;
  /** Files with what the cut left of each disk; those without a label belong to nobody. */
  readonly disks: readonly string[];
  /** Undefined: another host. */
  readonly memory: KeptMemory | undefined;
}

export interface Verdict {
  /** One for each broken promise. */
  readonly sentences: readonly string[];
  /** The index came from what the host remembered, not from the disks. */
  readonly remembered: boolean;
}

export async function judge(
  dataPlane: DataPlane,
  cut: Cut,
  { lives, snapshotLives }: Pick<Life, 'lives' | 'snapshotLives'>,
  folder: string,
): Promise<Verdict> {
  const disks = await labelledOf(cut.disks);
  const found = await damageOn(disks);
  const stateDir = mkdtempSync(join(folder, 'state-'));
  if (cut.memory !== undefined) cpSync(cut.memory.folder, stateDir, { recursive: true });
  const told = new Set<string>();
  const pools = await Pools.open({
    stateDir,
    dataPlane,
    clock: systemClock,
    log: silent,
    emit: ({ kind }) => told.add(kind),
    // Its last owner is dead for certain: nobody need be given the time to find out.
    options: { flushWindowMs: 1000, leaseTimes: { ...leaseTimes(), settleMs: 1 } },
  });
  try {
    await pools.import(disks, { takeover: true });
    const volumes = new VolumeService({ pools, clock: systemClock, emit: () => {} });
    const emit = () => {};
    const snapshots = new SnapshotService({ pools, volumes, clock: systemClock, emit });
    const { moment } = cut;
    for (const life of lives) found.push(...(await judgeVolume(volumes, life, moment)));
    for (const life of snapshotLives) found.push(...(await judgeSnapshot(snapshots, life, moment)));
    // What was cut off is finished; nothing that is shown changes by it.
    for (const pool of pools.all()) await snapshots.settled(pool);
    for (const life of lives) found.push(...(await judgeVolume(volumes, life, moment)));
    await snapshots.close();
  } catch (error) {
    found.push(`the pool does not open: ${error instanceof Error ? error.stack : error}`);
  } finally {
    await pools.close();
    rmSync(stateDir, { recursive: true });
  }
  found.push(
    ...(await damageOn(await labelledOf(disks))).map((finding) => `after recovery: ${finding}`),
  );
  const remembered = cut.memory !== undefined && !told.has('pool/index-rebuilt');
  return { sentences: found, remembered };
}

/** As an operator finds them. */
async function labelledOf(disks: readonly string[]): Promise<string[]> {
  const labelled: string[] = [];
  for (const disk of disks) {
    const { label, labelProblem } = await probeDisk(disk);
    if (label !== null || labelProblem !== null) labelled.push(disk);
  }
  return labelled;
}

async function damageOn(disks: readonly string[]): Promise<string[]> {
  const report = await checkOffline([...disks]);
  return report.findings
    .filter((finding) => finding.severity === 'damage')
    .map((finding) => `${finding.code} ${finding.where}: ${finding.message}`);
}

async function judgeVolume(
  volumes: VolumeService,
  life: VolumeLife,
  cut: number,
): Promise<string[]> {
  const there = volumes.list().some((volume) => volume.name === life.name);
  if (!there) {
    const mayBeGone = life.created > cut || life.deleteBegun <= cut;
    return mayBeGone ? [] : [`volume ${life.name} is gone`];
  }
  if (life.createBegun > cut) return [`volume ${life.name} was not created yet`];
  if (life.deleted <= cut) return [`volume ${life.name} was deleted`];
  const open = await volumes.open(life.name);
  try {
    const shown = await open.plane.read(0, life.model.sizeBytes);
    return life.model.violations(shown, cut);
  } finally {
    await open.close();
  }
}

async function judgeSnapshot(
  snapshots: SnapshotService,
  life: SnapshotLife,
  cut: number,
): Promise<string[]> {
  const where = `${life.volume}@${life.name}`;
  const info = snapshots
    .list()
    .find(
      ({ volume, name, kind }) =>
        volume === life.volume && name === life.name && kind === 'snapshot',
    );
  if (info === undefined) {
    const mayBeGone = life.created > cut || life.deleteBegun <= cut;
    return mayBeGone ? [] : [`snapshot ${where} is gone`];
  }
  if (life.createBegun > cut) return [`snapshot ${where} was not taken yet`];
  if (life.deleted <= cut) return [`snapshot ${where} was deleted`];
  const open = await snapshots.open(info.pool, info.id);
  try {
    const shown = await open.plane.read(0, info.sizeBytes);
    return imageViolations(life.image, shown).map((sentence) => `snapshot ${where} ${sentence}`);
  } finally {
    await open.close();
  }
}
