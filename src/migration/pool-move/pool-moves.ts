/**
 * PoolMoves: volumes move to another pool of the service, with everything that hangs together with them, while guests run.
 *
 *   record "move" in the source
 *     → heads frozen → what is frozen copied → (much was written meanwhile) → again      guests notice nothing
 *     → cut-over (cut-over.ts)                                                          guests notice a pause
 *     → until the window closes the source keeps what it had, and the move can be undone: the same move back, of what is new
 *
 * Cut off at any moment, it goes on with the layer it was at; what was copied is found by the target's records.
 * Elsewhere: what to do about a crash in the cut-over (settle.ts), whose names there may be twice (src/pool/name-clash.ts).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { StorageError } from '../../base/errors.ts';
import { newUuid } from '../../base/ids.ts';
import { Pace } from '../../pool/pace.ts';
import type { Pool } from '../../pool/pool.ts';
import { exchangeHeads } from '../../snapshot/freeze.ts';
import type { FoundVolume } from '../../volume/catalog.ts';
import { LayerTree } from '../../volume/layer-tree.ts';
import {
  arrivalRecords,
  deleteArrivalOp,
  deleteKeptOp,
  deleteMoveOp,
  keptById,
  keptRecords,
  type MoveRecord,
  moveOp,
  moveRecords,
} from '../../volume/moves.ts';
import { layerOp, volumeById } from '../../volume/records.ts';
import { incomingLayers } from './arriving.ts';
import { copyMissing } from './copy-missing.ts';
import { cutOver, familyNow, heldBytesMax, NotNow, turnsFree } from './cut-over.ts';
import { freezeHeads, headBytes } from './freeze-heads.ts';
import { planMove } from './plan.ts';
import { hasTraces, settlePool } from './settle.ts';
import type {
  MoveUnderWay,
  PoolMoveContext,
  PoolMoveDependencies,
  PoolMoveOptions,
  PoolMovePlan,
} from './types.ts';
import { openWindow } from './window.ts';

/** As much is copied while requests wait; less is not worth another walk. */
const restBytesMax = heldBytesMax / 16;
/** A guest that writes as fast as it is copied never leaves so little: then more is copied while it waits. */
const walksForLittle = 8;
/** Between attempts at a cut-over that something stood in the way of. */
const retryMs = 500;
/** Between looks whether windows have closed. */
const lookMs = 60_000;

/** The move that is to be undone, found by a volume that has moved. */
interface Undoable {
  readonly id: string;
  readonly source: string;
}

export class PoolMoves {
  readonly #to: PoolMoveDependencies;
  /** Ids of moves that this process is at. */
  readonly #underWay = new Set<string>();
  readonly #stopLooking: () => void;

  constructor(dependencies: PoolMoveDependencies) {
    const { volumes, clock } = dependencies;
    this.#to = dependencies;
    volumes.addGuard((name) => this.#guard(name));
    this.#stopLooking = clock.every(lookMs, () => void this.#endExpired());
  }

  close(): void {
    this.#stopLooking();
  }

  /**
   * What the move would do; the undoing of one moves back to where the volume was.
   *
   * @throws StorageError volume/not-found, volume/busy, pool/not-found, pool/failed, request/invalid; pool/full with the numbers
   */
  async plan(name: string, to: string): Promise<PoolMovePlan> {
    const { pool, record } = this.#to.volumes.find(name);
    const target = this.#to.pools.get(to);
    const known = moveRecords(pool).find(({ volume }) => volume === record.id);
    const move = known ?? newMove(record.id, target);
    return planMove(this.#to, { source: pool, target, move });
  }

  /** What undoing the volume's last move would do. @throws StorageError op/state there is none that can be undone; as `plan` */
  async planUndo(name: string): Promise<PoolMovePlan & { readonly to: string }> {
    const { pool, record } = this.#to.volumes.find(name);
    const undoable = this.#undoable({ pool, record });
    const target = this.#to.pools.get(undoable.source);
    const move = { ...newMove(record.id, target), undoes: undoable.id };
    return { ...(await planMove(this.#to, { source: pool, target, move })), to: target.name };
  }

  /**
   * Afterwards the volume's family is in the pool; begun again it goes on.
   *
   * @param options.undo the last move is undone: only what is new since is copied
   * @throws StorageError as `plan`; disk/io; why the operation is to end. Then it is where it was, and nothing is left in the target
   */
  async move(
    name: string,
    { to, keepSeconds, undo = false }: PoolMoveOptions & { readonly undo?: boolean },
    context: PoolMoveContext,
  ): Promise<void> {
    await this.settle();
    const { pool: source, record } = this.#to.volumes.find(name);
    const known = moveRecords(source).find(({ volume }) => volume === record.id);
    const target = await this.#targetOf(source, to, known);
    // It was cut off behind the switch.
    if (source === target) return;
    const move = known ?? {
      ...newMove(record.id, target),
      ...(undo ? { undoes: this.#undoable({ pool: source, record }).id } : {}),
    };
    if (move.target.uuid !== target.uuid) this.expectNotMoving(name);
    const underWay = { source, target, move };
    this.#underWay.add(move.id);
    try {
      await this.#move(name, underWay, undo ? 0 : keepSeconds, context);
    } catch (error) {
      if (!isToGoOn(error)) await this.#abandon(underWay);
      throw error;
    } finally {
      this.#underWay.delete(move.id);
    }
  }

  /**
   * The last move of the volume cannot be undone any more; what the source kept is given back.
   *
   * @returns whether there was one
   */
  async finish(
    name: string,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<{ changed: boolean }> {
    const ids = this.#openWindows(name);
    if (!options.dryRun) for (const id of ids) await this.#end(id);
    return { changed: ids.size > 0 };
  }

  /**
   * What a crash, or a pool that was away, has left is put in order, in every pool that is open and works.
   *
   * @returns names of the pools in which something changed
   */
  async settle(): Promise<readonly string[]> {
    const { volumes } = this.#to;
    const open = (uuid: string) => this.#writable.find((pool) => pool.uuid === uuid);
    const changed: string[] = [];
    // Elsewhere a start would wait for whoever changes something in any pool: a merge, and the checkpoint that it waits for.
    for (const pool of this.#writable.filter(hasTraces)) {
      try {
        const isChanged = await volumes.exclusively(pool, () =>
          settlePool(pool, open, (id) => this.#underWay.has(id)),
        );
        if (!isChanged) continue;
        volumes.structureChanged(pool);
        changed.push(pool.name);
      } catch (error) {
        this.#unsettled(pool, error);
      }
    }
    this.#warnOfAbsent(open);
    return changed;
  }

  /** Moves that nobody is at any more are over. @param isMoving whether an operation goes on with the volume */
  async dropAbandoned(isMoving: (volume: string) => boolean): Promise<void> {
    for (const source of this.#writable) {
      for (const { id, volume, switching } of moveRecords(source)) {
        const name = volumeById(source, volume)?.name;
        const isAt = this.#underWay.has(id) || (name !== undefined && isMoving(name));
        if (!isAt && switching === undefined) await this.#drop(source, id);
      }
    }
    await this.settle();
  }

  /** @throws StorageError volume/busy it moves to another pool, or something that hangs together with it */
  expectNotMoving(name: string): void {
    const { pool, record } = this.#to.volumes.find(name);
    const tree = LayerTree.of(pool);
    for (const { volume, target } of moveRecords(pool)) {
      if (!tree.familyOf(volume).volumes.has(record.id)) continue;
      const moving = volumeById(pool, volume)?.name ?? name;
      const why = moving === name ? 'it is' : `it shares data with ${moving}, which is`;
      throw new StorageError(
        'volume/busy',
        `volume ${name} cannot be moved: ${why} being moved to pool ${target.name}`,
        { actions: ['varve op list'] },
      );
    }
  }

  async #move(
    name: string,
    underWay: MoveUnderWay,
    keepSeconds: number,
    context: PoolMoveContext,
  ): Promise<void> {
    const { volumes, clock, emit } = this.#to;
    const { source, target, move } = underWay;
    const plan = await planMove(this.#to, underWay);
    await source.noteMoves();
    await target.noteMoves();
    await volumes.exclusively(source, () => source.commit([moveOp(move)]));
    const pace = new Pace(context);
    let copied = 0;
    const watch = {
      before: (bytes: number) => pace.before(bytes),
      // The guests of the volume are the source's.
      inTurn: (work: () => Promise<number>) => source.governor.run(work),
      onCopied: (bytes: number) => {
        copied += bytes;
        const { isHeldBack } = source.governor;
        context.report(copied, Math.max(copied, plan.copiedBytes), { isHeldBack });
      },
    };
    for (let walks = 1; ; walks++) {
      context.setPhase('copying');
      await this.#copyFrozen(underWay, watch);
      await context.whileRunning();
      const restMax = walks < walksForLittle ? restBytesMax : heldBytesMax;
      if (headBytes(source, familyNow(underWay)) > restMax) continue;
      context.setPhase('switching pools');
      const until =
        keepSeconds === 0 ? null : new Date(clock.nowMs() + 1000 * keepSeconds).toISOString();
      try {
        await turnsFree(volumes, underWay);
        const { heldSeconds, exports } = await cutOver(this.#to, underWay, until);
        const held =
          exports === 0 ? '' : `; requests waited for ${Math.ceil(1000 * heldSeconds)} ms`;
        context.setPhase(`switched${held}`);
        const message = `volume ${name} is in pool ${target.name} now${held}${undoHint(name, until)}`;
        emit({ kind: 'volume/moved', level: 'info', subject: name, message });
        return;
      } catch (error) {
        if (!(error instanceof NotNow)) throw error;
        context.setPhase(`waiting for the moment to switch: ${error.message}`);
        await delay(retryMs);
        await context.whileRunning();
      }
    }
  }

  /** What the guests have written so far is frozen, and copied. */
  async #copyFrozen(
    underWay: MoveUnderWay,
    watch: Parameters<typeof copyMissing>[2]['watch'],
  ): Promise<void> {
    const { volumes } = this.#to;
    const { source, target } = underWay;
    // The source is only read, and what it did meanwhile is looked at: who waits for the target's disks holds up nobody there.
    const exclusively = <T>(work: () => Promise<T>) => volumes.exclusively(target, work);
    await volumes.exclusively(source, () =>
      freezeHeads(source, familyNow(underWay), exchangeHeads),
    );
    await copyMissing(underWay, familyNow(underWay), { exclusively, watch });
    await source.flush();
  }

  /** The volumes stay where they are, and the copies go. Where that fails it is made up for when both pools are opened again. */
  async #abandon({ source, target, move }: MoveUnderWay): Promise<void> {
    const { volumes } = this.#to;
    try {
      await volumes.exclusively(source, async () => {
        const isThere = moveRecords(source).some(({ id }) => id === move.id);
        if (isThere) await source.commit([deleteMoveOp(move.id)]);
      });
      await volumes.exclusively(target, async () => {
        const copies = incomingLayers(target, move.id).map(layerOp);
        if (copies.length > 0) await target.commit(copies);
      });
      volumes.structureChanged(source);
      volumes.structureChanged(target);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }

  /** A move that was cut off is over when its target is not there any more. @throws StorageError why it is not */
  async #targetOf(source: Pool, to: string, known: MoveRecord | undefined): Promise<Pool> {
    try {
      return this.#to.pools.get(to);
    } catch (error) {
      if (known !== undefined) await this.#drop(source, known.id);
      throw error;
    }
  }

  async #drop(source: Pool, id: string): Promise<void> {
    try {
      await this.#to.volumes.exclusively(source, () => source.commit([deleteMoveOp(id)]));
      this.#to.volumes.structureChanged(source);
    } catch (error) {
      this.#unsettled(source, error);
    }
  }

  /** @throws what is no StorageError */
  #unsettled({ name }: Pool, error: unknown): void {
    if (!(error instanceof StorageError)) throw error;
    const message = `what is left of moves of volumes in pool ${name} is not in order yet: ${error.message}`;
    this.#to.emit({ kind: 'volume/move-unsettled', level: 'warning', subject: name, message });
  }

  #windowOf({ pool, record }: FoundVolume) {
    return openWindow(pool, LayerTree.of(pool).familyOf(record.id));
  }

  /** @throws StorageError op/state */
  #undoable({ pool, record }: FoundVolume): Undoable {
    const window = this.#windowOf({ pool, record });
    if (window === undefined) {
      throw new StorageError('op/state', `volume ${record.name} has no move that can be undone`, {
        actions: [`varve volume move ${record.name} --to POOL`],
      });
    }
    const { id, source } = window;
    const kept = keptById(this.#to.pools.get(source.name), id);
    if (kept === undefined) {
      throw new StorageError('op/state', `pool ${source.name} has given back what it kept`);
    }
    return { id, source: source.name };
  }

  /** Ids of the moves that brought the volume of that name. */
  #openWindows(name: string): Set<string> {
    const found = this.#to.volumes.lookUp(name);
    const window = found === undefined ? undefined : this.#windowOf(found);
    // The volume may have been deleted where it is now.
    const kept = this.#to.pools
      .all()
      .flatMap((pool) =>
        keptRecords(pool).filter(({ names }) => found === undefined && names.includes(name)),
      );
    return new Set([...(window === undefined ? [] : [window.id]), ...kept.map(({ id }) => id)]);
  }

  /** First nothing can be undone any more, then what was kept goes. */
  async #end(id: string): Promise<void> {
    const { volumes } = this.#to;
    for (const pool of this.#writable) {
      const ops = [
        ...(keptById(pool, id) === undefined ? [] : [deleteKeptOp(id)]),
        ...arrivalRecords(pool).flatMap((each) => (each.id === id ? [deleteArrivalOp(id)] : [])),
      ];
      if (ops.length === 0) continue;
      await volumes.exclusively(pool, () => pool.commit(ops));
      volumes.structureChanged(pool);
    }
  }

  async #endExpired(): Promise<void> {
    const now = new Date(this.#to.clock.nowMs()).toISOString();
    const isOver = ({ until }: { readonly until: string | null }) => until !== null && until <= now;
    const all = this.#writable.flatMap((pool) => [...keptRecords(pool), ...arrivalRecords(pool)]);
    for (const { id } of all.filter(isOver)) {
      // A move back that is under way needs it.
      const isUndone = this.#to.pools
        .all()
        .some((pool) => moveRecords(pool).some(({ undoes }) => undoes === id));
      if (!isUndone) await this.#end(id).catch(() => {});
    }
  }

  /** What was imported to be read stays as it is. */
  get #writable(): readonly Pool[] {
    return this.#to.pools.all().filter(({ isReadOnly }) => !isReadOnly);
  }

  #guard(name: string): string | null {
    const found = this.#to.volumes.lookUp(name);
    if (found === undefined) return null;
    const tree = LayerTree.of(found.pool);
    const isMoving = moveRecords(found.pool).some(({ volume }) =>
      tree.familyOf(volume).volumes.has(found.record.id),
    );
    return isMoving ? 'it is being moved to another pool (varve op list)' : null;
  }

  #warnOfAbsent(open: (uuid: string) => Pool | undefined): void {
    for (const pool of this.#to.pools.all()) {
      for (const { id, target, switching } of moveRecords(pool)) {
        if (switching === undefined || open(target.uuid) !== undefined || this.#underWay.has(id))
          continue;
        const names = switching.names.join(', ');
        const message = `${names}: on the way from pool ${pool.name} to pool ${target.name}, which is not open and alone knows whether they have arrived: import it`;
        this.#to.emit({
          kind: 'volume/move-unsettled',
          level: 'error',
          subject: pool.name,
          message,
        });
      }
    }
  }
}

function newMove(volume: number, target: Pool): MoveRecord {
  return { id: newUuid(), volume, target: { uuid: target.uuid, name: target.name } };
}

function undoHint(name: string, until: string | null): string {
  return until === null
    ? ''
    : `; until ${until} it can be undone: varve volume move ${name} --undo`;
}

/** The service stops, or a pool has failed: what was copied is used when it goes on. */
function isToGoOn(error: unknown): boolean {
  const codes: string[] = ['service/stopping', 'pool/failed'];
  return error instanceof StorageError && codes.includes(error.code);
}
