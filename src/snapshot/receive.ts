/**
 * Receiving: a snapshot comes from elsewhere, together with what it shows, and is a snapshot of the volume as if it had been taken here.
 *
 *   all of it:      NAME.receiving, empty ───────── written ──▶ NAME, with the snapshot
 *   an increment:   NAME.receiving, a clone of base ─ written ─▶ its head's layer is NAME's, named; NAME has a new head on it
 *
 * What is written goes to a volume of its own, which nobody else can open. The last step is one batch: until then NAME is what it was, afterwards
 * it is what the snapshot shows. How far it is stands in the record of NAME.receiving.
 * An increment goes only onto what it was made from: NAME must have its base, by uuid, and not have been written since.
 * Elsewhere: the stream (src/backup), who the snapshot is (passport.ts).
 */
import { StorageError } from '../base/errors.ts';
import { expectName } from '../base/names.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { volumeKey } from '../volume/chain.ts';
import { deleteVolumeOp, layerOp, NewIds, volumeById, volumeOp } from '../volume/records.ts';
import type { Receiving, VolumeRecord } from '../volume/types.ts';
import { addHead } from './clone.ts';
import type { SnapshotContext } from './context.ts';
import { isUnchangedSince } from './diff.ts';
import { exchangeHeads } from './freeze.ts';
import { expectDescription, expectLayersLeft, expectSnapshotsLeft } from './limits.ts';
import { formatSnapshotName } from './names.ts';
import { type Identity, type SnapshotPassport, snapshotUuid } from './passport.ts';
import { snapshotOp, snapshotRecords } from './records.ts';
import { type Connections, expectNoClients } from './revert.ts';
import type { SnapshotRecord } from './types.ts';

export interface Incoming {
  /** Of the volume that is to have it. */
  readonly name: string;
  readonly snapshot: SnapshotPassport;
  /** What it is told as a change of; null: all of it is told. */
  readonly base: Identity | null;
  /** Which telling: one that was cut off goes on only with the same. */
  readonly stream: string;
  /** Of a volume that is to be made; defaults to the only one. */
  readonly pool?: string;
  /** Of the disks that its data is to lie on. */
  readonly class?: string;
}

type Increment = Incoming & { readonly base: Identity };

/** Where an increment goes. */
interface Target extends FoundVolume {
  readonly base: SnapshotRecord;
}

export class Receiver {
  readonly #context: SnapshotContext;
  readonly #connections: () => Connections;

  constructor(context: SnapshotContext, connections: () => Connections) {
    this.#context = context;
    this.#connections = connections;
  }

  /**
   * Whether there is something to receive; makes every check and changes nothing.
   *
   * @returns false: the volume has the snapshot
   * @throws StorageError request/invalid, volume/exists, volume/not-found, volume/shrink, snapshot/exists, backup/base, backup/changed, export/busy,
   *   pool/not-found, pool/read-only, snapshot/limit
   */
  async expectReceivable(incoming: Incoming): Promise<boolean> {
    const { name, snapshot, base } = incoming;
    expectName('snapshot', snapshot.name);
    expectDescription(snapshot);
    const known = this.#context.volumes.lookUp(name);
    if (known !== undefined && byUuid(known, snapshot.uuid) !== undefined) return false;
    if (base === null) await this.#expectCreatable(incoming);
    else await this.#expectOnTop({ ...incoming, base });
    return true;
  }

  /** What was begun before and not finished, of this stream or another. @throws StorageError volume/exists a volume of somebody has that name */
  findUnfinished(name: string): (FoundVolume & { readonly receiving: Receiving }) | undefined {
    const part = this.#context.volumes.lookUp(unfinished(name));
    return part && { ...part, receiving: expectReceiving(part) };
  }

  /** @returns what the content is to be written to @throws StorageError as `expectReceivable` */
  async begin(incoming: Incoming): Promise<FoundVolume> {
    const { volumes } = this.#context;
    const { name, base, stream } = incoming;
    const receiving: Receiving = { stream, toBytes: 0 };
    if (base !== null) {
      const scope = () => ({ pools: [volumes.find(name).pool], names: [unfinished(name)] });
      return volumes.exclusively(scope, () => this.#beginOnTop({ ...incoming, base }, receiving));
    }
    await volumes.create({ ...creation(incoming), receiving });
    return volumes.find(unfinished(name));
  }

  /** To be told when what lies before `toBytes` is durable. */
  note(part: FoundVolume, receiving: Receiving): Promise<void> {
    return this.#context.volumes.exclusively(part.pool, async () => {
      const record = stillThere(part);
      await part.pool.commit([volumeOp({ ...record, receiving })]);
    });
  }

  /**
   * The volume has the snapshot, and shows what it shows. All of it is in `part`, durable, and nobody has that open any more.
   *
   * @throws StorageError as `expectReceivable`; pool/failed
   */
  finish(part: FoundVolume, incoming: Incoming): Promise<void> {
    const { volumes, tell } = this.#context;
    const { name, snapshot, base } = incoming;
    const scope = () => ({ pools: [part.pool], names: [name, unfinished(name)] });
    return volumes.exclusively(scope, async () => {
      const whole = { ...part, record: stillThere(part) };
      if (base === null) await this.#becomeVolume(whole, incoming);
      else await this.#joinVolume(whole, { ...incoming, base });
      volumes.structureChanged(part.pool);
      const full = formatSnapshotName({ volume: name, snapshot: snapshot.name });
      tell('snapshot/received', full, `snapshot ${full} was received, and verified`);
    });
  }

  async #expectCreatable(incoming: Incoming): Promise<void> {
    const { volumes } = this.#context;
    const { name } = incoming;
    expectName('volume', name);
    if (volumes.lookUp(name) !== undefined) {
      const what = 'the stream has all of a snapshot, which makes a volume';
      throw new StorageError('volume/exists', `volume ${name} exists, and ${what}`, {
        actions: ['receive it under a name that is free'],
      });
    }
    expectLayersLeft(volumes.poolFor(incoming.pool), 2);
    if (this.findUnfinished(name) !== undefined) return;
    await volumes.create({ ...creation(incoming), dryRun: true });
  }

  async #expectOnTop(incoming: Increment): Promise<void> {
    const target = await this.#findTarget(incoming);
    target.pool.expectWritable();
    this.#context.volumes.expectFilled(target);
    this.#expectRoomFor(target, incoming);
    this.findUnfinished(incoming.name);
  }

  /** The volume can have one more snapshot, of that name. */
  #expectRoomFor(target: Target, { name, snapshot }: Increment): void {
    expectNoClients(this.#connections(), name, 'changed');
    this.#context.catalog.expectFree(target, snapshot.name);
    expectSnapshotsLeft(target);
    expectLayersLeft(target.pool, 2);
  }

  /** @throws StorageError volume/not-found, volume/shrink, backup/base, backup/changed */
  async #findTarget({ name, base, snapshot }: Increment): Promise<Target> {
    const found = this.#context.volumes.find(name);
    const record = byUuid(found, base.uuid);
    if (record === undefined) {
      const what = `the stream goes on top of snapshot ${base.name} (${base.uuid})`;
      throw new StorageError('backup/base', `${what}, which volume ${name} does not have`);
    }
    if (snapshot.sizeBytes < record.sizeBytes) {
      throw new StorageError('volume/shrink', `the stream makes volume ${name} smaller`);
    }
    await this.#expectUnchanged(found, record);
    return { ...found, base: record };
  }

  /** @throws StorageError backup/changed */
  async #expectUnchanged({ record }: FoundVolume, base: SnapshotRecord): Promise<void> {
    const range = { volume: record.name, from: base.name };
    const isSameSize = record.sizeBytes === base.sizeBytes;
    if (isSameSize && (await isUnchangedSince(this.#context.catalog, range))) return;
    const onto = formatSnapshotName({ volume: record.name, snapshot: base.name });
    const why = `the stream goes on top of ${onto}, and the volume was changed since`;
    throw new StorageError('backup/changed', why, {
      actions: [`varve volume revert ${onto}   (keeps what it is now as a snapshot), then repeat`],
    });
  }

  async #beginOnTop(incoming: Increment, receiving: Receiving): Promise<FoundVolume> {
    const { pool, record, base } = await this.#findTarget(incoming);
    const name = unfinished(incoming.name);
    this.#context.volumes.expectFree(name);
    // The increment may be of a volume that has grown.
    const { sizeBytes } = incoming.snapshot;
    const { placement } = record;
    const placed = placement === undefined ? {} : { placement };
    const of = { name, snapshotMode: 'row', receiving, ...placed } as const;
    return { pool, record: await addHead(this.#context, pool, { ...base, sizeBytes }, of) };
  }

  async #becomeVolume({ pool, record }: FoundVolume, { name, snapshot }: Incoming): Promise<void> {
    this.#context.volumes.expectFree(name);
    expectLayersLeft(pool, 1);
    const { receiving: _, ...kept } = record;
    const { ops } = namedHead(pool, { ...kept, name }, record.headLayer, snapshot);
    await pool.commit(ops);
  }

  async #joinVolume({ pool, record }: FoundVolume, incoming: Increment): Promise<void> {
    const target = await this.#findTarget(incoming);
    this.#expectRoomFor(target, incoming);
    const { snapshot } = incoming;
    const grown = { ...target.record, sizeBytes: snapshot.sizeBytes };
    const { head, ops } = namedHead(pool, grown, record.headLayer, snapshot);
    const exchange = { volume: target.record, head, inherit: false };
    await exchangeHeads(pool, [exchange], [...ops, deleteVolumeOp(record.id)], () =>
      this.#expectUnchanged(target, target.base),
    );
    if (grown.sizeBytes > target.record.sizeBytes) {
      pool.volumeResized(volumeKey(grown.id), grown.sizeBytes);
    }
  }
}

/** The volume has a new head on that layer, which the snapshot names. */
function namedHead(
  pool: Pool,
  volume: VolumeRecord,
  layer: number,
  { name, ...kept }: SnapshotPassport,
): { head: number; ops: BatchOp[] } {
  const ids = new NewIds(pool);
  const head = ids.layer();
  const snapshot = { ...kept, id: ids.snapshot(), volume: volume.id, name, layer };
  const ops = [
    ids.op(),
    layerOp({ id: head, parent: layer }),
    volumeOp({ ...volume, headLayer: head }),
    snapshotOp(snapshot),
  ];
  return { head, ops };
}

function byUuid({ pool, record }: FoundVolume, uuid: string): SnapshotRecord | undefined {
  return snapshotRecords(pool).find(
    (snapshot) => snapshot.volume === record.id && snapshotUuid(pool, snapshot) === uuid,
  );
}

function creation({ name, snapshot, pool, class: label }: Incoming) {
  return {
    name: unfinished(name),
    sizeBytes: snapshot.sizeBytes,
    ...(pool === undefined ? {} : { pool }),
    ...(label === undefined ? {} : { class: label }),
  };
}

/** Too long a name for it is refused with the volume's creation. */
function unfinished(name: string): string {
  return `${name}.receiving`;
}

/** @throws StorageError volume/exists it is a volume like any other */
function expectReceiving({ record }: FoundVolume): Receiving {
  if (record.receiving !== undefined) return record.receiving;
  const what = 'that is the name of what is being received';
  throw new StorageError('volume/exists', `volume ${record.name} exists, and ${what}`, {
    actions: [`varve volume rename ${record.name} OTHER`],
  });
}

/** @throws StorageError volume/busy somebody has deleted it, or moved it to another pool */
function stillThere({ pool, record }: FoundVolume): VolumeRecord {
  const now = volumeById(pool, record.id);
  if (now?.receiving !== undefined) return now;
  throw new StorageError('volume/busy', `volume ${record.name} has gone while it was received`);
}
