/** What figures are worth depends on: machine, kernel, versions, how long, and who else was at work. */
import { cpus, loadavg, release } from 'node:os';
import type { PeerTools } from './peer-tools.ts';

export interface Scale {
  readonly rounds: number;
  readonly runtimeSeconds: number;
  readonly spanMiB: number;
}

/** A line each, as of now: before anything is measured. */
export async function aboutRun(scale: Scale, tools: readonly PeerTools[]): Promise<string[]> {
  const programs = ['qemu-storage-daemon', 'nbdkit'];
  const versions = await Promise.all(
    tools.flatMap((each) => programs.map((program) => each.version(program))),
  );
  const { rounds, runtimeSeconds, spanMiB } = scale;
  return [
    `${new Date().toISOString().slice(0, 16)}Z, ${cpus().length} × ${cpus()[0]?.model}, Linux ${release()}`,
    `peers: ${versions.join('; ')}`,
    `fio's nbd engine, ${rounds} rounds of ${runtimeSeconds} s over ${spanMiB} MiB, servers interleaved; median (least–most)`,
    `load of the machine before the run: ${(loadavg()[0] ?? 0).toFixed(1)}; above 0.5 somebody else was at work, and the figures are worth little`,
  ];
}
