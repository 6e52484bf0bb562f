/**
 * virsh, which speaks to libvirt: one child process per call, arguments in a list, no shell.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf, StorageError } from '../base/errors.ts';

const run = promisify(execFile);

export interface Libvirt {
  readonly domain: string;
  /** Its URI; undefined: as virsh chooses. */
  readonly connect: string | undefined;
  readonly signal: AbortSignal;
}

/** What a command about the domain says. @throws StorageError guest/monitor, guest/refused; why the signal was given */
export function aboutDomain(
  { domain, ...libvirt }: Libvirt,
  command: string,
  args: readonly string[] = [],
): Promise<string> {
  return virsh(libvirt, [command, '--domain', domain, ...args]);
}

/** As `aboutDomain`, of a command that reads a device's XML from a file. */
export async function aboutDevice(
  libvirt: Libvirt,
  command: string,
  xml: string,
  args: readonly string[],
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'varve-virsh-'));
  try {
    const file = join(folder, 'device.xml');
    await writeFile(file, xml);
    await aboutDomain(libvirt, command, ['--file', file, ...args]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Of the libvirt that runs, as [9, 0, 0]. @throws StorageError guest/monitor */
export async function libvirtVersion(libvirt: Omit<Libvirt, 'domain'>): Promise<number[]> {
  const text = await virsh(libvirt, ['version', '--daemon']);
  const daemon =
    /against daemon: ([\d.]+)/.exec(text) ?? /Using library: libvirt ([\d.]+)/.exec(text);
  return (daemon?.[1] ?? '0').split('.').map(Number);
}

async function virsh(
  { connect, signal }: Omit<Libvirt, 'domain'>,
  args: readonly string[],
): Promise<string> {
  const to = connect === undefined ? [] : ['--connect', connect];
  const env = { ...process.env, LC_ALL: 'C' };
  try {
    return (await run('virsh', [...to, '--quiet', ...args], { signal, env })).stdout;
  } catch (cause) {
    signal.throwIfAborted();
    throw explained(cause);
  }
}

function explained(cause: unknown): StorageError {
  const { code, stderr } = cause as { code?: unknown; stderr?: string };
  if (code === 'ENOENT') {
    const actions = ['apt install libvirt-clients, or attach by --qmp'];
    return new StorageError('guest/monitor', 'virsh is not there', { cause, actions });
  }
  const said = (stderr ?? messageOf(cause))
    .replace(/^error: /gm, '')
    .trim()
    .split('\n')
    .join('; ');
  const isAway = /failed to connect|Failed to connect/.test(said);
  const actions = isAway ? { actions: ['start libvirt, or name its URI with --connect'] } : {};
  const errorCode = isAway ? 'guest/monitor' : 'guest/refused';
  return new StorageError(errorCode, `libvirt: ${said}`, { cause, ...actions });
}
