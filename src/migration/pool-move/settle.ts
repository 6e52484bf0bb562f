/**
 * Settling: what a crash, or a pool that was away, has left of moves between pools; to be run whenever both may be open.
 *
 *   source           target
 *   move, switching  arrival        the volumes are the target's: they leave the source
 *   move, switching  –              they are the source's: the switch did not happen
 *   kept             –              the move was ended, or undone: what was kept goes
 *   –                arrival        so it was there: nothing waits for it
 *   –                copies         the move is no more: they go
 *
 * A pool whose counterpart is not open stays as it is; volumes that are switching are nobody's until then (src/volume/catalog.ts).
 */
import type { BatchOp } from '../../pool/format/batch.ts';
import type { Pool } from '../../pool/pool.ts';
import {
  arrivalById,
  arrivalRecords,
  deleteArrivalOp,
  deleteKeptOp,
  deleteMoveOp,
  keptById,
  keptOp,
  keptRecords,
  moveById,
  moveOp,
  moveRecords,
} from '../../volume/moves.ts';
import { type LayerRecord, layerOp } from '../../volume/records.ts';
import { incomingLayers, leavingOps } from './arriving.ts';

/**
 * The volumes of a move that is switching leave the source: one batch. To be run between other changes of structure.
 *
 * @returns whether that was the end of the move: nothing is kept
 */
export async function leave(source: Pool, id: string): Promise<boolean> {
  const move = moveById(source, id);
  const leaving = move?.switching;
  if (move === undefined || leaving === undefined) return keptById(source, id) === undefined;
  const { names, pairs, layers, until } = leaving;
  const kept =
    until === null ? [] : [keptOp({ id, target: move.target, names, pairs, layers, until })];
  await source.commit([
    ...leavingOps(source, new Set(leaving.volumes)),
    deleteMoveOp(id),
    ...(move.undoes === undefined ? [] : [deleteArrivalOp(move.undoes)]),
    ...kept,
  ]);
  return until === null;
}

/** Whether a move has left anything in the pool that may have to be settled; where none was moved for a while, nothing has. */
export function hasTraces(pool: Pool): boolean {
  const records = [moveRecords(pool), keptRecords(pool), arrivalRecords(pool)];
  const layers = pool.records<LayerRecord>('layer/');
  return records.some(({ length }) => length > 0) || layers.some(({ incoming }) => incoming);
}

/**
 * Of the pool, as far as its counterparts are open. To be run between other changes of structure.
 *
 * @param open a pool by its uuid, if it is open
 * @param isUnderWay a move that this process is at, by its id
 * @returns whether anything changed
 */
export async function settlePool(
  pool: Pool,
  open: (uuid: string) => Pool | undefined,
  isUnderWay: (id: string) => boolean,
): Promise<boolean> {
  let changed = false;
  for (const { switching, ...move } of moveRecords(pool)) {
    const target = open(move.target.uuid);
    if (switching === undefined || target === undefined || isUnderWay(move.id)) continue;
    changed = true;
    if (arrivalById(target, move.id) !== undefined) await leave(pool, move.id);
    else await pool.commit([moveOp(move)]);
  }
  const ops = [...forgottenHere(pool, open, isUnderWay), ...copiesOfNobody(pool, open)];
  if (ops.length > 0) await pool.commit(ops);
  return changed || ops.length > 0;
}

/** Records that wait for a counterpart which does not know of them any more. */
function forgottenHere(
  pool: Pool,
  open: (uuid: string) => Pool | undefined,
  isUnderWay: (id: string) => boolean,
): BatchOp[] {
  const kept = keptRecords(pool).filter(({ id, target }) => {
    const there = open(target.uuid);
    return there !== undefined && arrivalById(there, id) === undefined;
  });
  const arrivals = arrivalRecords(pool).filter(({ id, source }) => {
    const there = open(source.uuid);
    if (there === undefined || isUnderWay(id)) return false;
    return keptById(there, id) === undefined && moveById(there, id) === undefined;
  });
  return [
    ...kept.map(({ id }) => deleteKeptOp(id)),
    ...arrivals.map(({ id }) => deleteArrivalOp(id)),
  ];
}

/** Copies of a move that no open pool knows of, when it is known that every pool it could come from is open: the source is named with it. */
function copiesOfNobody(pool: Pool, open: (uuid: string) => Pool | undefined): BatchOp[] {
  const layers = pool.records<LayerRecord>('layer/');
  const sources = new Map(
    layers.flatMap(({ incoming }) => (incoming ? [[incoming.move, incoming.source] as const] : [])),
  );
  const gone = [...sources].filter(([id, uuid]) => {
    const source = open(uuid);
    return source !== undefined && moveById(source, id) === undefined;
  });
  return gone.flatMap(([id]) => incomingLayers(pool, id).map(layerOp));
}
