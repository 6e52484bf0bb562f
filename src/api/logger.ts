/**
 * The service's log, on stderr: JSON lines for machines, one readable line each on a terminal.
 */
import { type Logger, pino } from 'pino';

export type ServiceLog = Logger;

export async function openLog(level: string): Promise<ServiceLog> {
  if (!process.stderr.isTTY) return pino({ level }, pino.destination({ dest: 2, sync: true }));
  const { default: pretty } = await import('pino-pretty');
  return pino({ level }, pretty({ destination: 2, sync: true, ignore: 'pid,hostname' }));
}
