/**
 * Cut-over: the moment in which a family becomes the target's.
 *
 *   exports paused ─▶ heads frozen, the rest copied ─▶ 1 source: "switching" ─▶ 2 target: the names, "arrival" ─▶ exports go on, in the target
 *                                                                           ─▶ 3 source: the names are gone  ─▶ (4 target: "arrival" goes)
 *
 * 1 to 4 are batches. Until 1 the volumes are the source's, whatever the target holds. Between 1 and 3 the target alone knows: they are its own
 * if it has the arrival (settle.ts). So a crash leaves them in one pool, never in both and never in none.
 * Lock order: exports' turn, then changes of structure, then openings of the source.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, StorageError } from '../../base/errors.ts';
import { formatSize } from '../../base/size.ts';
import { MiB } from '../../base/units.ts';
import type { HandOver } from '../../export/hand-over.ts';
import type { VolumeExportRecord } from '../../export/types.ts';
import { batchBytes } from '../../pool/format/batch.ts';
import type { Pool } from '../../pool/pool.ts';
import { exchangeHeldHeads } from '../../snapshot/freeze.ts';
import { snapshotKey } from '../../snapshot/open.ts';
import { volumeKey } from '../../volume/chain.ts';
import type { ScopeNow } from '../../volume/changes.ts';
import type { Family } from '../../volume/family.ts';
import { LayerTree } from '../../volume/layer-tree.ts';
import {
  arrivalOp,
  deleteArrivalOp,
  deleteKeptOp,
  type Leaving,
  moveOp,
} from '../../volume/moves.ts';
import { fillingOf } from '../../volume/records.ts';
import { arriving, namesOf } from './arriving.ts';
import { copyMissing } from './copy-missing.ts';
import { freezeHeads } from './freeze-heads.ts';
import { LayerMap } from './layer-map.ts';
import { leave } from './settle.ts';
import type { MoveUnderWay, PoolMoveDependencies } from './types.ts';

/** More is copied while requests go on: half a second at 100 MiB/s. */
export const heldBytesMax = 64 * MiB;
/** Requests are held for no longer than that before it is this move's turn. */
const turnMsMax = 2_000;

export interface CutOver {
  /** How long requests waited. */
  readonly heldSeconds: number;
  readonly exports: number;
}

/** It is not the moment: what stands in the way may be gone the next time. Nothing has changed. */
export class NotNow extends Error {}

/**
 * Afterwards the family is the target's, and served from there.
 *
 * @param until when the source lets go of what it had; null: at once
 * @throws NotNow; StorageError pool/failed, pool/full, disk/io: the family is where it was; only when the target fails in its own batch
 *   nobody can tell, and the exports' clients lose their connections
 */
export async function cutOver(
  dependencies: PoolMoveDependencies,
  underWay: MoveUnderWay,
  until: string | null,
): Promise<CutOver> {
  const { exports, volumes } = dependencies;
  const { source } = underWay;
  return exports.handOver(async (hand) => {
    const paused = familyNow(underWay);
    const began = performance.now();
    const served = await pause(hand, source, paused);
    try {
      await soonInTurn(volumes, underWay, async () => {
        expectSame(paused, familyNow(underWay));
        expectUnused(source, paused, served);
        await copyRest(underWay, paused);
        await switchPools(dependencies, underWay, hand, until);
      });
    } catch (error) {
      // Only now: to close a volume is to wait for the openings that were held.
      if (error instanceof InDoubt) await hand.giveUp();
      throw error;
    } finally {
      // Whoever has moved goes on in the target, whoever has not in the source.
      await hand.resume();
    }
    const heldSeconds = (performance.now() - began) / 1000;
    await clearUp(dependencies, underWay);
    await hand.release();
    return { heldSeconds, exports: served.length };
  });
}

/** @throws NotNow requests under way do not end */
async function pause(hand: HandOver, source: Pool, { volumes }: Family) {
  try {
    return await hand.pause(source.name, volumes);
  } catch (error) {
    if (error instanceof StorageError && error.code === 'volume/busy')
      throw new NotNow(error.message);
    throw error;
  }
}

/**
 * `work` between other changes of structure and while nothing is opened. Requests wait already: a change that has its turn for long, because it waits for a disk
 * perhaps, does not hold up guests whose disks are well.
 *
 * @throws NotNow
 */
async function soonInTurn(
  volumes: PoolMoveDependencies['volumes'],
  underWay: MoveUnderWay,
  work: () => Promise<void>,
): Promise<void> {
  const begun = new AbortController();
  let isLate = false;
  const done = volumes.exclusively(inBoth(underWay), async () => {
    if (isLate) return;
    await underWay.source.holdOpenings(async () => {
      if (isLate) return;
      begun.abort();
      await work();
    });
  });
  const give = () => {
    isLate = true;
    throw new NotNow('another change takes its time');
  };
  const late = delay(turnMsMax, undefined, { signal: begun.signal }).then(give, () => done);
  await Promise.race([done, late]);
}

/** Requests wait: what they have written since the last walk is all that is left. */
async function copyRest(underWay: MoveUnderWay, family: Family): Promise<void> {
  const { source, target } = underWay;
  await freezeHeads(source, family, exchangeHeldHeads);
  const tree = LayerTree.of(source);
  const missing = new LayerMap(underWay).missing(tree, family);
  const clusters = missing.reduce((sum, layer) => sum + source.clustersOf(layer), 0);
  const bytes = clusters * source.clusterBytes;
  if (bytes > heldBytesMax) throw new NotNow(`${formatSize(bytes)} were written meanwhile`);
  // Guests wait for it.
  const unheld = {
    before: async () => {},
    inTurn: (work: () => Promise<number>) => work(),
    onCopied() {},
  };
  await copyMissing(underWay, family, { exclusively: (work) => work(), watch: unheld });
  await target.flush();
}

async function switchPools(
  { volumes }: PoolMoveDependencies,
  underWay: MoveUnderWay,
  hand: HandOver,
  until: string | null,
): Promise<void> {
  const { source, target, move } = underWay;
  const family = familyNow(underWay);
  const { ops, volumes: arrived, exportOf } = arriving(underWay, family);
  const leaving = leavingOf(underWay, family, until);
  const arrival = arrivalOp({
    id: move.id,
    source: { uuid: source.uuid, name: source.name },
    volumes: arrived.map(({ id }) => id),
    layers: until === null ? [] : leaving.pairs.map(([, layer]) => layer),
    until,
  });
  const inTarget = [...ops, arrival, ...undone(move)];
  const inSource = [moveOp({ ...move, switching: leaving })];
  expectFits(target, inTarget);
  expectFits(source, inSource);
  target.expectOnline();
  const switching = volumes.switchesPools(move.id);
  try {
    await source.commit(inSource);
    await commitArrival(target, inTarget);
    hand.moved(target.name, exportOf);
  } finally {
    switching.end();
  }
}

/** @throws InDoubt it may be durable or not: nobody goes on before it is known */
async function commitArrival(target: Pool, ops: Parameters<Pool['commit']>[0]): Promise<void> {
  try {
    await target.commit(ops);
  } catch (cause) {
    throw new InDoubt(target.name, cause);
  }
}

/** Whose the volumes are nobody can tell. */
class InDoubt extends StorageError {
  constructor(target: string, cause: unknown) {
    const message = `pool ${target} failed in the moment of the switch; whether it has the volumes is known when it is open again: ${messageOf(cause)}`;
    super('pool/failed', message, { cause });
  }
}

/** What the source need not know any more is dropped; where that fails it is made up for when both pools are opened again. */
async function clearUp(
  { volumes, emit }: PoolMoveDependencies,
  { source, target, move }: MoveUnderWay,
): Promise<void> {
  try {
    const ends = await volumes.exclusively(source, () => leave(source, move.id));
    if (ends) await target.commit([deleteArrivalOp(move.id)]);
    volumes.structureChanged(source);
    volumes.structureChanged(target);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    const message = `pool ${source.name} does not know yet that volumes have moved to pool ${target.name}: ${error.message}`;
    emit({ kind: 'volume/move-unsettled', level: 'warning', subject: source.name, message });
  }
}

/** To be waited for before requests are held: a change that takes long now would be in the way. */
export function turnsFree(
  volumes: PoolMoveDependencies['volumes'],
  underWay: MoveUnderWay,
): Promise<void> {
  return volumes.exclusively(inBoth(underWay), () => underWay.source.holdOpenings(async () => {}));
}

/** Where a switch changes something. */
function inBoth({ source, target }: MoveUnderWay): ScopeNow {
  return () => ({ pools: [source, target] });
}

export function familyNow({ source, move }: MoveUnderWay): Family {
  return LayerTree.of(source).familyOf(move.volume);
}

function leavingOf(underWay: MoveUnderWay, family: Family, until: string | null): Leaving {
  const { source } = underWay;
  const tree = LayerTree.of(source);
  const map = new LayerMap(underWay);
  const layers = [...family.layers].filter(
    (layer) => tree.isAlive(layer) && tree.headOf(layer) === undefined,
  );
  const pairs = layers.flatMap((layer): [number, number][] => {
    const copy = map.copyOf(layer);
    return copy === undefined || copy.from.at(-1) !== layer ? [] : [[layer, copy.layer]];
  });
  const { volumes } = namesOf(source, family);
  return {
    volumes: volumes.map(({ id }) => id),
    names: volumes.map(({ name }) => name),
    pairs: until === null ? [] : pairs,
    layers: until === null ? [] : layers,
    until,
  };
}

/** The move that this one undoes is over. */
function undone({ undoes }: MoveUnderWay['move']) {
  return undoes === undefined ? [] : [deleteKeptOp(undoes)];
}

/** @throws NotNow a volume has come or gone since its exports were paused */
function expectSame(paused: Family, now: Family): void {
  const isSame =
    paused.volumes.size === now.volumes.size &&
    [...now.volumes].every((id) => paused.volumes.has(id));
  if (!isSame) throw new NotNow('volumes were cloned or deleted');
}

/** @throws NotNow somebody else than exports works with a volume or a snapshot, or a volume gets its space */
function expectUnused(source: Pool, family: Family, served: readonly VolumeExportRecord[]): void {
  const { volumes, snapshots } = namesOf(source, family);
  const uses = new Map<string, number>();
  for (const { volumeId, snapshotId } of served) {
    const key = snapshotId === undefined ? volumeKey(volumeId) : snapshotKey(snapshotId);
    uses.set(key, (uses.get(key) ?? 0) + 1);
  }
  const expectOnlyExports = (key: string, name: string) => {
    if (source.usersOf(key) > (uses.get(key) ?? 0)) throw new NotNow(`${name} is in use`);
  };
  for (const { id, name } of volumes) {
    expectOnlyExports(volumeKey(id), name);
    if (fillingOf(source, id) !== undefined) throw new NotNow(`${name} is getting its space`);
  }
  for (const { id, name } of snapshots) expectOnlyExports(snapshotKey(id), `snapshot ${name}`);
}

/** @throws StorageError snapshot/limit there are too many names for one batch */
function expectFits(pool: Pool, ops: Parameters<Pool['commit']>[0]): void {
  const bytes = batchBytes(ops);
  if (bytes <= pool.batchBytesMax) return;
  throw new StorageError(
    'snapshot/limit',
    `the names of what moves take ${formatSize(bytes)}, pool ${pool.name} takes ${formatSize(pool.batchBytesMax)} together`,
    { actions: ['delete snapshots that are not needed any more, then repeat'] },
  );
}
