/** Where a process runs. */
import { readFileSync } from 'node:fs';
import { run } from '../lib/command.ts';

/** `work` while the process, with all threads that it has and starts, runs on processor 0 only. */
export async function onFirstProcessor<T>(pid: number, work: () => Promise<T>): Promise<T> {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const [, before = '0'] = /^Cpus_allowed_list:\s+(.+)$/m.exec(status) ?? [];
  const allow = (processors: string) => run('taskset', ['-a', '-c', '-p', processors, `${pid}`]);
  await allow('0');
  try {
    return await work();
  } finally {
    await allow(before);
  }
}
