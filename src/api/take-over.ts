/**
 * One service after the other on the same state folder, with the clients' connections: by hand (`serve --take-over`), or under systemd,
 * which keeps them in between.
 *
 *   STATE/successor.sock   where a service that takes over wants to have what the running one leaves; there only for that moment
 *
 * Guarantees: whatever goes wrong on the way, the next service starts, and clients that were not handed over are closed and said.
 * The descriptors are forgotten by the supervisor before anything is read from them: nobody is served twice.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { SuccessionPlane } from '../dataplane/succession.ts';
import type { EmitEvent } from '../pool/types.ts';
import { livingHolder } from './state-dir.ts';
import type { Supervisor } from './supervisor.ts';

/** The unit's TimeoutStopSec and a little: a service that takes longer to stop is not killed here. */
const stopMsMax = 150_000;
const lookAgainMs = 10;

/** Where a service that takes over wants to have clients and sockets; undefined: none waits. */
export async function successorOf(stateDir: string): Promise<string | undefined> {
  const successor = successorSocket(stateDir);
  const waits = await stat(successor).then(
    () => true,
    () => false,
  );
  return waits ? successor : undefined;
}

/**
 * Has the running service of the folder stop, and takes what it leaves. Without one there is nothing to do. The supervisor, if there is one, knows
 * before that this process is the service now: the end of the other one means nothing to it.
 *
 * @throws StorageError service/state-held it does not stop
 */
export async function takeOver(
  plane: SuccessionPlane,
  stateDir: string,
  supervisor: Supervisor,
  log: Log,
): Promise<void> {
  const pid = await livingHolder(stateDir);
  if (pid === undefined) return;
  const socket = successorSocket(stateDir);
  await rm(socket, { force: true });
  const received = plane.receive(socket, stopMsMax).received.catch((error: unknown) => {
    log.warn({ err: error }, 'what the running service left cannot be used');
    return false;
  });
  try {
    await supervisor.tell(plane, `MAINPID=${process.pid}`, log);
    process.kill(pid, 'SIGTERM');
    await untilGone(stateDir, pid);
    // Behind what it has sent; one of an older version sends nothing.
    await plane.sendText(socket, 'END=1').catch(() => undefined);
    await received;
  } finally {
    await rm(socket, { force: true });
  }
}

async function untilGone(stateDir: string, pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < stopMsMax; waitedMs += lookAgainMs) {
    if ((await livingHolder(stateDir)) !== pid) return;
    await delay(lookAgainMs);
  }
  throw new StorageError('service/state-held', `process ${pid} was asked to stop and goes on`, {
    actions: ['see its log for what it waits for', `kill -9 ${pid}, then start again`],
  });
}

/** Takes what the supervisor has kept, if anything; before the first listener. */
export function inheritStored(plane: SuccessionPlane, supervisor: Supervisor, log: Log): void {
  if (Object.keys(supervisor.stored).length === 0) return;
  try {
    plane.inherit(supervisor.stored);
  } catch (error) {
    log.warn({ err: error }, 'what the supervisor has kept cannot be used: clients connect again');
  }
}

/** Every export is served: inherited clients go on, listeners accept. What could not be handed over is said. */
export async function adoptClients(
  plane: SuccessionPlane,
  supervisor: Supervisor,
  emit: EmitEvent,
): Promise<void> {
  await forgetStored(plane, supervisor, emit);
  const { clients, refused } = plane.adopt();
  for (const { export: subject, address, reason } of refused) {
    const message = `client ${address} of ${subject} was closed, it has to connect again: ${reason}`;
    emit({ kind: 'client/not-handed-over', level: 'warning', subject, message });
  }
  if (clients === 0) return;
  const message = `${clients} clients of the last service go on with their connections`;
  emit({ kind: 'service/clients-taken-over', level: 'info', subject: 'service', message });
}

async function forgetStored(
  plane: SuccessionPlane,
  { address, stored }: Supervisor,
  emit: EmitEvent,
): Promise<void> {
  const names = Object.keys(stored);
  if (names.length === 0 || address === undefined) return;
  try {
    await plane.forgetStored(address, names);
  } catch (error) {
    plane.inherit({});
    const reason = error instanceof Error ? error.message : String(error);
    const message = `systemd keeps the connections of the last service, so they were closed: ${reason}`;
    emit({ kind: 'client/not-handed-over', level: 'warning', subject: 'service', message });
  }
}

function successorSocket(stateDir: string): string {
  return join(stateDir, 'successor.sock');
}
