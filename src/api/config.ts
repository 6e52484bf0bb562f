/**
 * Settings of the service: defaults, then the configuration file (TOML), then the command line.
 *
 * Unknown keys and wrong types are refused by name: a setting that is silently ignored is worse than none.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parse } from 'smol-toml';
import { StorageError } from '../base/errors.ts';
import { parseSize } from '../base/size.ts';
import { type LeaseTimes, leaseTimes } from '../pool/lease.ts';

export interface ServeOptions {
  readonly state?: string;
  readonly socket?: string;
  readonly config?: string;
  /** Have the service that runs on the same state folder stop, and go on with its clients. */
  readonly takeOver?: boolean;
}

export interface Config {
  readonly stateDir: string;
  /** Where REST answers. */
  readonly socket: string;
  readonly logLevel: LogLevel;
  readonly loops: number;
  readonly backend: Backend;
  readonly bufferBytes: number;
  readonly mapBytes: number;
  readonly flushWindowMs: number;
  readonly leaseTimes: LeaseTimes;
  readonly takeOver: boolean;
}

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
type LogLevel = (typeof logLevels)[number];
const backends = ['auto', 'io_uring', 'epoll'] as const;
type Backend = (typeof backends)[number];

const defaultStateDir = '/var/lib/varve';
const defaultSocket = '/run/varve/varve.sock';
const loopsMax = 64;
const flushWindowMsMax = 60_000;
const leaseMsMin = 600;
const leaseMsMax = 30_000;

const readers = {
  state: readText,
  socket: readText,
  log_level: oneOf(logLevels),
  loops: integer(1, loopsMax),
  backend: oneOf(backends),
  buffer_memory: readSize,
  map_memory: readSize,
  flush_window_ms: integer(1, flushWindowMsMax),
  /** For tests alone: every host that may ever hold a pool must have the same. */
  test_lease_ms: integer(leaseMsMin, leaseMsMax),
} as const;

type Settings = { [K in keyof typeof readers]?: ReturnType<(typeof readers)[K]> };

/**
 * A state folder of one's own brings its own socket: two services on one host then do not meet.
 *
 * @throws StorageError service/config the file cannot be read, or says something unknown
 */
export async function loadConfig(options: ServeOptions): Promise<Config> {
  const settings = options.config === undefined ? {} : await readSettings(options.config);
  const state = options.state ?? settings.state;
  const stateDir = resolve(state ?? defaultStateDir);
  const socketBeside = state === undefined ? defaultSocket : `${stateDir}/varve.sock`;
  return {
    stateDir,
    socket: resolve(options.socket ?? settings.socket ?? socketBeside),
    logLevel: settings.log_level ?? 'info',
    loops: settings.loops ?? 2,
    backend: settings.backend ?? 'auto',
    bufferBytes: settings.buffer_memory ?? parseSize('256MiB'),
    mapBytes: settings.map_memory ?? parseSize('512MiB'),
    flushWindowMs: settings.flush_window_ms ?? 1000,
    leaseTimes: leaseTimes(settings.test_lease_ms),
    takeOver: options.takeOver ?? false,
  };
}

async function readSettings(path: string): Promise<Settings> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw refuse(path, cause.message);
  });
  return parseSettings(path, text);
}

/** Pure; exported for its test. */
export function parseSettings(path: string, text: string): Settings {
  const settings: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(parseToml(path, text))) {
    const read = readers[key as keyof typeof readers];
    if (!Object.hasOwn(readers, key)) {
      throw refuse(
        path,
        `it has an unknown key ${key}`,
        `known are ${Object.keys(readers).join(', ')}`,
      );
    }
    try {
      settings[key] = read(value);
    } catch (cause) {
      throw refuse(path, `${key}: ${(cause as Error).message}`);
    }
  }
  return settings as Settings;
}

function parseToml(path: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (cause) {
    throw refuse(path, (cause as Error).message.split('\n')[0] ?? 'it is no TOML');
  }
}

function refuse(path: string, why: string, action?: string): StorageError {
  return new StorageError('service/config', `configuration ${path} cannot be used: ${why}`, {
    actions: action === undefined ? ['correct the file, then start again'] : [action],
  });
}

function readText(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new TypeError('it must be a text');
}

function readSize(value: unknown): number {
  return parseSize(String(value));
}

function integer(min: number, max: number): (value: unknown) => number {
  return (value) => {
    if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) {
      return Number(value);
    }
    throw new TypeError(`it must be a whole number from ${min} to ${max}`);
  };
}

function oneOf<T extends string>(choices: readonly T[]): (value: unknown) => T {
  return (value) => {
    const choice = choices.find((candidate) => candidate === value);
    if (choice !== undefined) return choice;
    throw new TypeError(`it must be one of ${choices.join(', ')}`);
  };
}
