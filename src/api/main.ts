/**
 * The service as a process: starts it, tells the supervisor, stops it on SIGTERM and SIGINT.
 *
 * The command loads this file at run time, for `serve` only.
 */
import { version } from '../base/version.ts';
import { loadConfig, type ServeOptions } from './config.ts';
import { openLog } from './logger.ts';
import { Service } from './service.ts';
import { Supervisor } from './supervisor.ts';

const signals = ['SIGTERM', 'SIGINT'] as const;

/** Says that it serves, and where. */
export type OnReady = (socket: string) => Promise<void> | void;

/**
 * Serves until a signal asks it to stop; a second signal ends the process at once. Clients are left to the service that follows, if one does.
 *
 * @throws StorageError why it could not start
 */
export async function serve(options: ServeOptions, onReady: OnReady = () => {}): Promise<void> {
  const config = await loadConfig(options);
  const log = await openLog(config.logLevel);
  // When this process began, in milliseconds of the epoch: what came before was loading the code.
  log.info({ version, started: Math.round(performance.timeOrigin) }, 'starting');
  const asked = signalAsked();
  const supervisor = new Supervisor(process.env, process.pid);
  const service = await Service.start(config, log, supervisor);
  log.info({ version, socket: config.socket, state: config.stateDir }, 'ready');
  try {
    await service.tellReady();
    await onReady(config.socket);
    const signal = await asked;
    log.info({ signal }, 'stopping');
    await service.leaveToNext();
  } finally {
    await service.stop();
  }
  log.info({}, 'stopped');
}

function signalAsked(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of signals) {
      process.on(signal, () => {
        if (asked) process.exit(130);
        asked = true;
        resolve(signal);
      });
    }
  });
}
