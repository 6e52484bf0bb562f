/**
 * Tells systemd how far the service is (Type=notify); does nothing under any other parent.
 *
 * Node has no unix datagram sockets, so systemd's own tool speaks for us; the unit says NotifyAccess=all.
 */
import { execFile } from 'node:child_process';
import type { Log } from '../base/log.ts';

export function tellSupervisor(state: 'READY=1' | 'STOPPING=1', log: Log): Promise<void> {
  if (process.env.NOTIFY_SOCKET === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    // `--pid` makes the message ours although a child sends it.
    execFile('systemd-notify', [`--pid=${process.pid}`, state], (error) => {
      if (error !== null) log.warn({ err: error, state }, 'the supervisor could not be told');
      resolve();
    });
  });
}
