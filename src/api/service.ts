/**
 * The composition root: builds every layer in its order, takes them down in the reverse one.
 *
 *   data plane → (the last service's clients) → state folder → events → pools → volumes → snapshots → exports → operations → REST       ready
 *
 * Guarantees: `start` returns a service that serves, or throws with everything closed again. Stopping refuses
 * changing calls first, then lets operations and exports end before pools are checkpointed; it may be asked for twice.
 */
import { chmod, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BackupReceive } from '../backup/backup-receive.ts';
import { BackupSend } from '../backup/backup-send.ts';
import { systemClock } from '../base/clock.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { DataPlane } from '../dataplane/data-plane.ts';
import { SuccessionPlane } from '../dataplane/succession.ts';
import { DomainDisks } from '../export/domain-disks.ts';
import { ExportService } from '../export/export-service.ts';
import { HostStore } from '../export/export-store.ts';
import { GuestDisks } from '../export/guest-disks.ts';
import { Heir } from '../export/heir.ts';
import { PassthroughDisks } from '../export/passthrough.ts';
import { freeSocketPath } from '../export/unix-socket.ts';
import { ImageLoad } from '../image/image-load.ts';
import { ImageSave } from '../image/image-save.ts';
import { ImageServers } from '../image/image-servers.ts';
import { PrivateExports } from '../image/private-exports.ts';
import { ServedLoad } from '../image/served-load.ts';
import { Leave } from '../migration/leave.ts';
import { MigrationService } from '../migration/migration-service.ts';
import { PoolMoves } from '../migration/pool-move/pool-moves.ts';
import { scanDisks } from '../pool/disk-scan.ts';
import { Pools } from '../pool/pools.ts';
import type { EmitEvent } from '../pool/types.ts';
import { ScrubService } from '../scrub/scrub-service.ts';
import { SnapshotService } from '../snapshot/snapshot-service.ts';
import { Adoption } from '../volume/adoption.ts';
import { VolumeService } from '../volume/volume-service.ts';
import { Arrivals } from './arrival.ts';
import type { Config } from './config.ts';
import { EventLog } from './event-log.ts';
import type { ServiceLog } from './logger.ts';
import { Operations } from './operations.ts';
import type { ApiServices } from './ports.ts';
import { resumableKinds } from './resumable.ts';
import { expectFree, StateDir } from './state-dir.ts';
import { Supervisor, type SupervisorState } from './supervisor.ts';
import { adoptClients, inheritStored, successorOf, takeOver } from './take-over.ts';

/** Who may write to the socket is an operator: the folder it is in and its group decide. */
const socketMode = 0o660;

type Closer = () => Promise<void> | void;

export class Service {
  readonly #config: Config;
  readonly #log: ServiceLog;
  readonly #supervisor: Supervisor;
  readonly #dataPlane: DataPlane;
  readonly #succession: SuccessionPlane;
  #emit: EmitEvent = () => {};
  /** Who goes on with the clients once the service stops. */
  #heir: Heir | undefined;
  /** In order of opening. */
  readonly #closers: Closer[] = [];
  #state: 'starting' | 'ready' | 'stopping' = 'starting';
  #stopped: Promise<void> | null = null;

  private constructor(config: Config, log: ServiceLog, supervisor: Supervisor) {
    this.#config = config;
    this.#log = log;
    this.#supervisor = supervisor;
    this.#dataPlane = this.#opened(startDataPlane(config), (opened) => opened.stop());
    this.#succession = new SuccessionPlane(this.#dataPlane);
  }

  /** @throws StorageError service/state-held, service/state-version, service/config, export/listen */
  static async start(
    config: Config,
    log: ServiceLog,
    supervisor = new Supervisor({}, process.pid),
  ): Promise<Service> {
    if (!config.takeOver) await expectFree(config.stateDir);
    const service = new Service(config, log, supervisor);
    try {
      await service.#start();
      return service;
    } catch (error) {
      await service.stop();
      throw error;
    }
  }

  /** The supervisor knows that it serves. */
  tellReady(): Promise<void> {
    return this.#tellSupervisor('READY=1');
  }

  #tellSupervisor(state: SupervisorState): Promise<void> {
    return this.#supervisor.tell(this.#succession, state, this.#log);
  }

  /** The next `stop` leaves clients to the service that follows, if one waits for them or the supervisor keeps them until it does. */
  async leaveToNext(): Promise<void> {
    const successor = await successorOf(this.#config.stateDir);
    // Whoever takes over has told the supervisor so: to it the service goes on.
    if (successor === undefined) await this.#tellSupervisor('STOPPING=1');
    const address = successor ?? this.#supervisor.address;
    if (address !== undefined) this.#heir = new Heir(this.#succession, address, this.#emit);
  }

  /** Everything acknowledged is on the disks, every socket closed, the state folder free. */
  stop(): Promise<void> {
    this.#state = 'stopping';
    this.#stopped ??= this.#close();
    return this.#stopped;
  }

  async #start(): Promise<void> {
    const { stateDir, socket } = this.#config;
    await makeSocketFolder(socket);
    await this.#inherit();
    const state = await this.#opened(await StateDir.take(stateDir), (dir) => dir.release());
    const services = await this.#openLayers(state);
    await this.#listen(services, socket);
    this.#state = 'ready';
  }

  async #inherit(): Promise<void> {
    inheritStored(this.#succession, this.#supervisor, this.#log);
    if (!this.#config.takeOver) return;
    // What takes time is done before guests have to wait.
    await import('./server.ts');
    await takeOver(this.#succession, this.#config.stateDir, this.#supervisor, this.#log);
  }

  async #openLayers(state: StateDir): Promise<ApiServices> {
    const config = this.#config;
    const log: Log = this.#log;
    const clock = systemClock;
    const startedAt = new Date(clock.nowMs());

    const eventsPath = state.file('events.jsonl');
    const events = this.#opened(new EventLog(clock, log, eventsPath), (opened) => opened.close());
    const emit: EmitEvent = (event) => events.emit(event);
    this.#emit = emit;

    const dataPlane = this.#dataPlane;
    const servers = await ImageServers.open(state.file('images'), log);
    const own = { stateDir: state.path, dataPlane, images: servers, clock, log, emit };
    const pools = this.#opened(await Pools.open({ ...own, options: config }), (opened) =>
      opened.close({ soon: this.#heir !== undefined }),
    );
    const volumes = new VolumeService({ pools, clock, emit });
    const snapshots = this.#opened(new SnapshotService({ pools, volumes, clock, emit }), (opened) =>
      opened.close(),
    );
    const exports = this.#opened(
      new ExportService({
        dataPlane,
        volumes,
        snapshots,
        disks: new PassthroughDisks({ dataPlane, pools, emit }),
        emit,
        pools: () => pools.all(),
        host: await HostStore.open({
          exports: state.file('passthrough.json'),
          secrets: state.file('passthrough-secrets.json'),
        }),
        now: () => new Date(clock.nowMs()),
        defaultAddress: { kind: 'unix', path: state.file('nbd.sock') },
        // What is closed from then on may wait for a disk that does not answer; no guest's request fails by it.
        onClientsGone: () => pools.hurry(),
      }),
      (opened) => (this.#heir === undefined ? opened.close() : opened.leaveTo(this.#heir)),
    );
    snapshots.setConnections(exports);
    pools.addDiskUses(() => exports.diskUses());
    pools.onFenced(({ name }) => exports.abandon(name));
    const poolMoves = this.#opened(
      new PoolMoves({ pools, volumes, exports, clock, emit }),
      (opened) => opened.close(),
    );
    // Before anything is served: a volume whose move was cut off is in one of two pools.
    await poolMoves.settle();
    await exports.start();
    await adoptClients(this.#succession, this.#supervisor, emit);
    this.#log.info({}, 'serving');
    const migration = new MigrationService({ pools, volumes, emit });
    const leave = new Leave({ dataPlane, pools, volumes, snapshots, emit });
    const adoption = new Adoption({ pools, volumes, clock, emit });
    const forImages = new PrivateExports(dataPlane, state.file('images.sock'));
    const loading = { volumes, adoption, absorber: migration, exports: forImages, servers };
    const images = {
      load: new ImageLoad({ ...loading, served: new ServedLoad(loading), emit }),
      save: new ImageSave({ pools, volumes, snapshots, exports: forImages, emit }),
    };
    const backups = {
      send: new BackupSend({ pools, volumes, snapshots, emit }),
      receive: new BackupReceive({ volumes, snapshots }),
    };
    const scrubs = new ScrubService({ pools, volumes, clock, emit });
    const kinds = resumableKinds({
      pools,
      migration,
      poolMoves,
      adoption,
      leave,
      images,
      backups,
      scrubs,
      snapshots,
    });
    const operations = this.#opened(
      new Operations(clock, log, emit, state.file('operations.jsonl'), kinds),
      (opened) => opened.close(),
    );
    const arrivals = this.#opened(
      new Arrivals({ exports, operations, poolMoves, pools, snapshots }),
      (opened) => opened.close(),
    );
    await arrivals.dropAbandoned();
    pools.onReturned((name) => {
      const text = 'a pool came back, and what it exports is not all served';
      arrivals.arrived(name).catch((err) => log.error({ pool: name, err }, text));
    });
    const service = this.#info(state.path, dataPlane.backend, startedAt);
    const scan = (address: string) => scanDisks(dataPlane, address);
    return {
      scanDisks: scan,
      pools,
      volumes,
      adoption,
      leave,
      images,
      backups,
      snapshots,
      exports,
      guestDisks: new GuestDisks(exports),
      domainDisks: new DomainDisks(exports),
      migration,
      poolMoves,
      arrivals,
      scrubs,
      operations,
      events,
      service,
    };
  }

  async #listen(services: ApiServices, socket: string): Promise<void> {
    // Loaded only now: guests get their disks back before operators get their interface.
    const { buildServer } = await import('./server.ts');
    const app = await buildServer(services, this.#log);
    this.#closers.push(() => app.close());
    await freeSocketPath(socket);
    await app.listen({ path: socket });
    await chmod(socket, socketMode);
  }

  #info(stateDir: string, backend: string, startedAt: Date) {
    const stateNow = () => this.#state;
    return {
      stateDir,
      backend,
      startedAt,
      get stopping() {
        return stateNow() === 'stopping';
      },
      readiness: () => [
        { name: 'started', ok: stateNow() !== 'starting' },
        { name: 'not stopping', ok: stateNow() !== 'stopping' },
      ],
    };
  }

  #opened<T>(layer: T, close: (layer: T) => Promise<void> | void): T {
    this.#closers.push(() => close(layer));
    return layer;
  }

  /** One layer that closes badly must not keep the ones below open. */
  async #close(): Promise<void> {
    for (const close of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        this.#log.error({ err: error }, 'closing failed');
      }
    }
  }
}

/** @throws StorageError service/config it cannot be made */
async function makeSocketFolder(socket: string): Promise<void> {
  const folder = dirname(socket);
  try {
    await mkdir(folder, { recursive: true, mode: 0o750 });
  } catch (cause) {
    const reason = messageOf(cause);
    throw new StorageError('service/config', `no socket can be made in ${folder}: ${reason}`, {
      cause,
      actions: [
        'name another place with --state or --socket, or run as a user who may write there',
      ],
    });
  }
}

/** @throws StorageError service/config the addon is not built, or its backend cannot be had */
function startDataPlane(config: Config): DataPlane {
  try {
    return new DataPlane(config);
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new StorageError('service/config', `the data plane cannot start: ${reason}`, {
      cause,
      actions: ['varve doctor', 'npm run build'],
    });
  }
}
