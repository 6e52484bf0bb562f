/**
 * What the demo's guest would do: write a pattern and flush, read it back. Through qemu-io where it is, else ours.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { MiB } from '../base/units.ts';
import { NbdClient } from './nbd-client.ts';

const run = promisify(execFile);

/** A run of one repeated byte. */
export interface Pattern {
  readonly byte: number;
  readonly offset: number;
  readonly length: number;
}

/** `told`: the command as it may be repeated, or what was done instead. */
export interface DemoDisk {
  write(pattern: Pattern): Promise<string>;
  /** @throws Error something else was read */
  verify(pattern: Pattern): Promise<string>;
}

export async function demoDisk(uri: string, socket: string, exportName: string): Promise<DemoDisk> {
  const hasQemu = await run('qemu-io', ['--version']).then(
    () => true,
    () => false,
  );
  return hasQemu ? qemuDisk(uri) : ownDisk(socket, exportName);
}

function qemuDisk(uri: string): DemoDisk {
  const qemuIo = async (...commands: string[]) => {
    const args = ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri];
    const { stdout } = await run('qemu-io', args);
    // qemu-io ends with 0 also when the pattern differs.
    if (/failed|error/i.test(stdout)) throw new Error(stdout.trim());
    return `qemu-io ${commands.map((command) => `-c '${command}'`).join(' ')} '${uri}'`;
  };
  return {
    write: ({ byte, offset, length }) => qemuIo(`write -P ${byte} ${offset} ${length}`, 'flush'),
    verify: ({ byte, offset, length }) => qemuIo(`read -P ${byte} ${offset} ${length}`),
  };
}

function ownDisk(socket: string, exportName: string): DemoDisk {
  const withClient = async (work: (client: NbdClient) => Promise<void>) => {
    const client = await NbdClient.connect(socket, exportName);
    await work(client).finally(() => client.close());
  };
  return {
    async write({ byte, offset, length }) {
      await withClient(async (client) => {
        await client.write(offset, Buffer.alloc(length, byte));
        await client.flush();
      });
      return `(own NBD client) write ${length / MiB} MiB of ${byte} at ${offset / MiB} MiB, flush`;
    },
    async verify({ byte, offset, length }) {
      await withClient(async (client) => {
        const found = await client.read(offset, length);
        if (!found.equals(Buffer.alloc(length, byte))) throw new Error('other bytes were read');
      });
      return `(own NBD client) read ${length / MiB} MiB at ${offset / MiB} MiB: all ${byte}`;
    },
  };
}
