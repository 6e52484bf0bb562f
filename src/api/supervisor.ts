/**
 * systemd, when it started the service (Type=notify): is told how far the service is, and keeps descriptors across a restart.
 *
 * Does nothing under any other parent. Elsewhere: what is in the descriptors (native/nbd/succession_mail.h).
 */
import type { Log } from '../base/log.ts';
import type { SuccessionPlane } from '../dataplane/succession.ts';

/** The first descriptor that is passed on (sd_listen_fds(3)). */
const firstDescriptor = 3;

/** What it is told (sd_notify(3)). */
export type SupervisorState = 'READY=1' | 'STOPPING=1' | `MAINPID=${number}`;

export class Supervisor {
  /** Its datagram socket; undefined: there is none. */
  readonly address: string | undefined;
  /** What it has kept, by name. */
  readonly stored: Readonly<Record<string, number>>;

  /** Takes its variables out of `environment`, so that no child takes them for its own. */
  constructor(environment: NodeJS.ProcessEnv, pid: number) {
    this.address = environment.NOTIFY_SOCKET;
    this.stored = storedIn(environment, pid);
    for (const name of ['NOTIFY_SOCKET', 'LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) {
      delete environment[name];
    }
  }

  async tell(
    plane: Pick<SuccessionPlane, 'sendText'>,
    state: SupervisorState,
    log: Log,
  ): Promise<void> {
    if (this.address === undefined) return;
    try {
      await plane.sendText(this.address, state);
    } catch (error) {
      log.warn({ err: error, state }, 'the supervisor could not be told');
    }
  }
}

function storedIn(environment: NodeJS.ProcessEnv, pid: number): Record<string, number> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = environment;
  if (LISTEN_PID !== String(pid)) return {};
  const names = LISTEN_FDNAMES.split(':');
  const count = Math.min(Number(LISTEN_FDS), names.length);
  const stored: Record<string, number> = {};
  for (let i = 0; i < count; i++) stored[names[i] ?? ''] = firstDescriptor + i;
  return stored;
}
