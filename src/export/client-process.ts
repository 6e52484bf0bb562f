/**
 * Whose process a client is, as far as this host's kernel tells: of a client by unix socket its pid and program, of QEMU the guest's name too.
 *
 * Looked up when it is asked for, in /proc. Not to be had: of a client by TCP, of a process in another container, of one that is gone.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';

export interface ClientProcess {
  readonly pid: number;
  /** The name of its program. */
  readonly program: string;
  /** What QEMU was told by `-name`; null of other programs, and of guests without a name. */
  readonly guest: string | null;
}

/** @param address as the data plane tells it: `unix:pid=N,uid=N`, HOST:PORT @returns null when it is not to be had */
export async function processOf(address: string): Promise<ClientProcess | null> {
  const pid = Number(/^unix:pid=(\d+),/.exec(address)?.[1] ?? 0);
  // The kernel says 0 of a process that this one cannot see.
  if (pid === 0) return null;
  try {
    const line = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    const [program = ''] = line;
    return { pid, program: basename(program), guest: guestName(line) };
  } catch {
    return null;
  }
}

/** By QEMU's option: `-name web1`, `-name guest=web1,debug-threads=on`; a comma that belongs to the name is doubled. */
export function guestName(commandLine: readonly string[]): string | null {
  const option = commandLine.findIndex((word) => word === '-name' || word === '--name');
  const value = option < 0 ? undefined : commandLine[option + 1];
  const parts = value?.match(/(?:,,|[^,])+/g) ?? [];
  const name = parts.find(
    (part, at) => part.startsWith('guest=') || (at === 0 && !part.includes('=')),
  );
  return name === undefined ? null : name.replace(/^guest=/, '').replaceAll(',,', ',');
}
