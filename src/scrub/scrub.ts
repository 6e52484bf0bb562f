/**
 * Scrub: reads and verifies everything of a pool, or of one of its disks, while guests run.
 *
 *   layers, oldest first, region by region: clusters read, compared with their seals; what is damaged is condemned at once
 *     → labels, rings, checkpoints → the map → findings: everything that is known to be damaged, not only what is new
 *
 * Cut off at any moment it has condemned what it found until then; begun again it goes on about where it was. A layer that becomes one with another
 * meanwhile may be read twice, or (what went to a layer that was done) by the next scrub.
 */
import { slotsFor } from '../migration/movement.ts';
import type { ClusterPlace } from '../pool/allocator.ts';
import { FindingLog } from '../pool/check/findings.ts';
import type { DamageRecord } from '../pool/damage.ts';
import { checkDiskMetadata } from '../pool/disk-metadata.ts';
import { isSealable } from '../pool/format/seal.ts';
import { slotDisk, slotMask } from '../pool/format/slot.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import { checkOnline } from '../pool/online-check.ts';
import { placeOf } from '../pool/pending-moves.ts';
import type { Pool } from '../pool/pool.ts';
import { regionsOf } from '../snapshot/regions.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { affectedBy } from './affected.ts';
import { type CondemnContext, condemn } from './condemn.ts';
import { isFrozen } from './frozen-layers.ts';
import { contentBytes, type LayerCluster, sealClusters } from './sealing.ts';
import type { ScrubCursor, ScrubFinding } from './types.ts';
import { clustersIn, type Verified, type VerifiedCluster, verifyClusters } from './verify.ts';

export interface ScrubWatch {
  /** Resolves when so many bytes may be read. @throws the reason to stop */
  readonly before: (bytes: number) => Promise<void>;
  readonly onRead: (bytes: number) => void;
  /** Everything before is read. */
  readonly onPassed: (cursor: ScrubCursor) => void;
  readonly onCondemned: (marks: readonly DamageRecord[]) => Promise<void>;
  readonly onPhase: (phase: string) => void;
}

/** 8 MiB at the default cluster size. */
const clustersPerTurn = 128;
/** More say nothing new. */
const placesMax = 1000;

/** @param disk only what lies on it; else all disks */
export interface ScrubScope {
  readonly disk: number | undefined;
  readonly from: ScrubCursor | undefined;
}

/** @throws StorageError pool/failed, disk/io, pool/damaged; what `before` throws */
export async function scrub(
  context: CondemnContext,
  scope: ScrubScope,
  watch: ScrubWatch,
): Promise<ScrubFinding[]> {
  const unreadable: VerifiedCluster[] = [];
  watch.onPhase('reading');
  // What guests wrote is in the map only when it is durable.
  await context.pool.flush();
  for (const layer of layersFrom(context, scope)) {
    unreadable.push(...(await scrubLayer(context, layer, scope, watch)));
  }
  watch.onPhase('checking');
  const metadata = await checkMetadata(context, scope);
  return [...(await placeFindings(context, scope, unreadable)), ...metadata];
}

function layersFrom({ pool }: CondemnContext, { from }: ScrubScope): number[] {
  const tree = LayerTree.of(pool);
  return [...tree.layers]
    .filter((layer) => tree.isAlive(layer) && layer >= (from?.layer ?? 0))
    .sort((a, b) => a - b);
}

/** @returns clusters that the disk has an error at */
async function scrubLayer(
  context: CondemnContext,
  layer: number,
  { disk, from }: ScrubScope,
  watch: ScrubWatch,
): Promise<VerifiedCluster[]> {
  const { pool } = context;
  const unreadable: VerifiedCluster[] = [];
  const isWanted = ({ hi, lo }: { hi: number; lo: number }) => {
    const number = slotDisk(hi);
    return isSealable({ hi, lo }) && !pool.isForeign(number) && (disk ?? number) === number;
  };
  for await (const { region, stack } of regionsOf(pool, [layer], { seals: true })) {
    if (layer === from?.layer && region < from.region) continue;
    const states = stack[0] as SlotStates;
    const clusters = clustersIn({ layer, firstSlot: region * states.count }, states, isWanted);
    for (let at = 0, end = 0; at < clusters.length; at = end) {
      end = at + slotsFor(pool, clustersPerTurn);
      const piece = clusters.slice(at, end);
      unreadable.push(...(await scrubPiece(context, piece, watch)));
    }
    watch.onPassed({ layer, region: region + 1 });
  }
  return unreadable;
}

async function scrubPiece(
  context: CondemnContext,
  clusters: readonly VerifiedCluster[],
  watch: ScrubWatch,
): Promise<readonly VerifiedCluster[]> {
  const { pool } = context;
  await watch.before(contentBytes(pool, clusters));
  const found = await verifyInTurn(context, clusters);
  watch.onRead(clusters.length * pool.clusterBytes);
  if (found.damaged.length > 0) await watch.onCondemned(await condemn(context, found.damaged));
  return found.unreadable;
}

async function verifyInTurn(
  { pool }: CondemnContext,
  clusters: readonly VerifiedCluster[],
): Promise<Verified> {
  let found: Verified = { damaged: [], unreadable: [] };
  await pool.governor.run(async () => {
    found = await verifyClusters(pool, clusters);
    const unsealed = clusters.filter(({ layer, seal }) => !seal && isFrozen(pool, layer));
    await seal(pool, unsealed);
    return contentBytes(pool, [...clusters, ...unsealed]);
  });
  return found;
}

/** What the sealer has not come to yet: the next scrub can tell. */
async function seal(pool: Pool, clusters: readonly LayerCluster[]): Promise<void> {
  if (clusters.length === 0) return;
  await pool.noteSeals();
  await sealClusters(pool, clusters);
}

/** Labels, rings and checkpoints of the disks, and of a whole pool the map. */
async function checkMetadata(
  { pool }: CondemnContext,
  { disk: only }: ScrubScope,
): Promise<ScrubFinding[]> {
  const log = new FindingLog();
  for (const disk of pool.disks) {
    if (disk.label.diskNumber !== (only ?? disk.label.diskNumber)) continue;
    if (disk.plane.condition.state === 'online' && !disk.isMissing) {
      await checkDiskMetadata(pool, disk, log);
    } else log.warning('disk/not-read', disk.location.uri, 'does not answer: it was not verified');
  }
  const ofMap = only === undefined ? (await checkOnline(pool)).findings : [];
  return [...log.all(), ...ofMap].map((finding) => ({ ...finding, ...nowhere }));
}

const nowhere = { volume: null, snapshot: null, offsetBytes: null, lengthBytes: null };

/** Everything that is marked, by this scrub or an earlier one, and what could not be read now. */
async function placeFindings(
  { pool }: CondemnContext,
  { disk }: ScrubScope,
  unreadable: readonly VerifiedCluster[],
): Promise<ScrubFinding[]> {
  const marked = pool.damage.records.filter((record) => (disk ?? record.disk) === record.disk);
  const places = [
    ...marked.map((place) => ({ place, code: 'data/damaged', message: 'is not what was written' })),
    ...unreadable.map((cluster) => ({
      place: { ...placeOf(cluster), slot: cluster.slot, mask: slotMask(cluster.lo) },
      code: 'data/unreadable',
      message: 'the disk reports an error',
    })),
  ];
  const findings: ScrubFinding[] = [];
  for (const { place, code, message } of places.slice(0, placesMax)) {
    const affected = await affectedBy(pool, place);
    const finding = { severity: 'damage', code, where: whereOf(pool, place), message } as const;
    if (affected.length === 0) findings.push({ ...finding, ...nowhere });
    else findings.push(...affected.map((extent) => ({ ...finding, ...extent })));
  }
  if (places.length <= placesMax) return findings;
  const message = `${places.length - placesMax} more damaged clusters`;
  const rest = { severity: 'damage', code: 'data/damaged', where: 'pool', message } as const;
  return [...findings, { ...rest, ...nowhere }];
}

function whereOf(pool: Pool, { disk, cluster }: ClusterPlace): string {
  return `cluster ${cluster} of disk ${pool.diskInfo(disk).uri}`;
}
