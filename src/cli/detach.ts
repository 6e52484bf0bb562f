/**
 * `serve --detach`: the same service as a process of its own, which goes on when the command and its terminal have ended.
 *
 * Guarantees: the command returns when the service answers, and fails when it ends before. The service is nobody's child but the first
 * process's: systemd, told that it is the service now, watches it as one that it has started itself (tools/systemd/varve.service, ExecReload).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { CommandError, exitFailed } from './errors.ts';

const serves = 'serves';

/** This command line again, detached. @throws CommandError service/not-started; why has been said by the service itself */
export async function serveDetached(): Promise<void> {
  const line = process.argv.slice(1).filter((argument) => argument !== '--detach');
  // `--fork`: whoever is started through it has no parent left when it begins.
  const command = ['--fork', process.execPath, ...process.execArgv, ...line];
  const starting = spawn('setsid', command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  if (await isServing(starting)) return starting.disconnect();
  throw new CommandError('service/not-started', 'the service ended before it served', exitFailed, [
    'see what it said above',
  ]);
}

/** The channel is the service's; it ends with it. */
async function isServing(starting: ChildProcess): Promise<boolean> {
  const ended = once(starting, 'disconnect').then(() => false);
  const said = once(starting, 'message').then(([message]) => message === serves);
  return Promise.race([said, ended]);
}

/** For the service: whoever started it detached need not wait any longer. */
export function tellStarter(): void {
  if (process.send === undefined) return;
  process.send(serves, () => process.disconnect());
}
