/**
 * The kinds of operation that go on after a restart: from what was asked for to the service that does it.
 */
import type { BackupReceive, BackupReceivePlan } from '../backup/backup-receive.ts';
import type { BackupSend, BackupSendPlan } from '../backup/backup-send.ts';
import type { ImageLoad, ImageLoadPlan } from '../image/image-load.ts';
import type { ImageSave, ImageSavePlan } from '../image/image-save.ts';
import type { Leave, LeavePlan } from '../migration/leave.ts';
import type { MigrationService } from '../migration/migration-service.ts';
import type { PoolMoves } from '../migration/pool-move/pool-moves.ts';
import type { MovementContext } from '../migration/types.ts';
import type { ScrubService } from '../scrub/scrub-service.ts';
import type { ScrubContext, ScrubCursor, ScrubFinding } from '../scrub/types.ts';
import type { SnapshotService } from '../snapshot/snapshot-service.ts';
import type { Adoption } from '../volume/adoption.ts';
import type { VolumePlacement } from '../volume/placement.ts';
import { findPoolDisk } from './find-disk.ts';
import type { OperationContext, Parameters, ResumableWork } from './operations.ts';
import type { PoolsPort } from './ports.ts';
import type { ScrubFindingItem } from './schemas.ts';

export interface ImageWork {
  readonly load: Pick<ImageLoad, 'load'>;
  readonly save: Pick<ImageSave, 'save'>;
}

export interface BackupWork {
  readonly send: Pick<BackupSend, 'toFile'>;
  readonly receive: Pick<BackupReceive, 'fromFile'>;
}

export interface ResumableServices {
  readonly pools: Pick<PoolsPort, 'list'>;
  readonly migration: Pick<
    MigrationService,
    'drain' | 'replace' | 'rebalance' | 'place' | 'absorb'
  >;
  readonly adoption: Pick<Adoption, 'planAgain' | 'adopt'>;
  readonly poolMoves: Pick<PoolMoves, 'move'>;
  readonly leave: Pick<Leave, 'leave'>;
  readonly images: ImageWork;
  readonly backups: BackupWork;
  readonly scrubs: Pick<ScrubService, 'scrub'>;
  readonly snapshots: Pick<SnapshotService, 'flatten'>;
}

export function resumableKinds({
  pools,
  migration,
  adoption,
  poolMoves,
  leave,
  images,
  backups,
  scrubs,
  snapshots,
}: ResumableServices): Readonly<Record<string, ResumableWork>> {
  return {
    'disk-drain': ({ parameters }, context) =>
      migration.drain(findPoolDisk(pools, String(parameters.disk)), movement(parameters, context)),
    'disk-replace': async ({ parameters }, context) => {
      const replacement = findPoolDisk(pools, String(parameters.replacement));
      const old = pools
        .list()
        .flatMap(({ disks }) => disks)
        .find(({ uuid }) => uuid === parameters.disk);
      // It was cut off behind the removal.
      if (old === undefined) return;
      await migration.replace(old, replacement, movement(parameters, context));
    },
    'pool-rebalance': ({ target, parameters }, context) =>
      migration.rebalance(target, movement(parameters, context)),
    'volume-move': ({ target, parameters }, context) => {
      const { pool, keep_seconds: keepSeconds, undo } = parameters;
      const how = movement(parameters, context);
      if (pool === undefined) return migration.place(target, placementOf(parameters), how);
      const to = { to: String(pool), keepSeconds: Number(keepSeconds), undo: undo === true };
      return poolMoves.move(target, to, { ...how, setPhase: context.setPhase });
    },
    'volume-absorb': async ({ target, parameters }, context) => {
      if (parameters.source !== undefined) await adoptFirst(adoption, target, parameters, context);
      context.setPhase('copying');
      await migration.absorb(target, movement(parameters, context));
    },
    'volume-flatten': async ({ target }, { report, signal }) => {
      await snapshots.flatten(target, report, signal);
    },
    'pool-scrub': ({ target, parameters }, context) =>
      scrubs.scrub({ pool: target }, scrubbing(parameters, context)),
    'disk-scrub': ({ parameters }, context) => {
      const { pool, number } = findPoolDisk(pools, String(parameters.disk));
      return scrubs.scrub({ pool, disk: number }, scrubbing(parameters, context));
    },
    'volume-leave': ({ parameters }, context) =>
      leave.leave(parameters as unknown as LeavePlan, paced(parameters, context)),
    'image-load': ({ parameters }, context) =>
      images.load.load(parameters as unknown as ImageLoadPlan, context),
    'image-save': ({ parameters }, context) =>
      images.save.save(parameters as unknown as ImageSavePlan, context),
    'backup-send': ({ parameters }, context) =>
      backups.send.toFile(parameters as unknown as BackupSendPlan, paced(parameters, context)),
    'backup-receive': ({ parameters }, context) =>
      backups.receive.fromFile(
        parameters as unknown as BackupReceivePlan,
        paced(parameters, context),
      ),
  };
}

/** Nothing when that was done before the restart. */
async function adoptFirst(
  adoption: ResumableServices['adoption'],
  name: string,
  { source, pool }: Parameters,
  context: OperationContext,
): Promise<void> {
  const asked = { name, source: String(source), pool: String(pool) };
  const plan = await adoption.planAgain(asked);
  if (plan !== undefined) await adoption.adopt(plan, context);
}

function placementOf({ class: name, disk }: Parameters): VolumePlacement {
  return name === undefined ? { disk: String(disk) } : { class: String(name) };
}

function movement(parameters: Parameters, context: OperationContext): MovementContext {
  const { report, whileRunning, rateBytes } = paced(parameters, context);
  return { report, whileRunning, rateBytes };
}

/** With the rate that was asked for. */
export function paced<T extends object>(
  { rate_bytes_per_second: rate }: Parameters,
  context: T,
): T & Pick<MovementContext, 'rateBytes'> {
  return { ...context, rateBytes: rate === undefined ? undefined : Number(rate) };
}

function scrubbing(parameters: Parameters, context: OperationContext): ScrubContext {
  return {
    ...movement(parameters, context),
    setPhase: context.setPhase,
    from: cursorOf(parameters),
    remember: ({ layer, region }) => context.remember({ at_layer: layer, at_region: region }),
    tellFindings: (findings) => context.tellFindings(findings.map(findingItem)),
  };
}

function cursorOf({ at_layer: layer, at_region: region }: Parameters): ScrubCursor | undefined {
  if (layer === undefined || region === undefined) return undefined;
  return { layer: Number(layer), region: Number(region) };
}

function findingItem({ offsetBytes, lengthBytes, ...finding }: ScrubFinding): ScrubFindingItem {
  return { ...finding, offset_bytes: offsetBytes, length_bytes: lengthBytes };
}
