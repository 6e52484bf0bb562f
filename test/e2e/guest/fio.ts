/**
 * Debian's fio in the test guest: writes at random on raw disks and reads back what it wrote, all the time.
 */
import type { Equipment, Guest } from './guest.ts';

const program = '/usr/bin/fio';
const output = '/tmp/fio.out';
const ended = '/tmp/fio.ended';

export const fio: Equipment = { qemuArguments: [], drivers: [], programs: [program] };

// The seed in a block's header is checked, too: an older version of the block is an error, not only a damaged one.
const writing = [
  ...['--direct=1', '--ioengine=libaio', '--iodepth=16', '--rw=randwrite', '--bsrange=1k-32k'],
  ...['--fdatasync=64', '--verify=crc32c', '--verify_fatal=1', '--verify_backlog=128'],
].join(' ');

/** Starts fio on the guest's disks, for so many seconds; `verdict` is for when it has ended. */
export async function startVerifying(
  guest: Guest,
  disks: readonly string[],
  seconds: number,
): Promise<void> {
  const jobs = disks.map((disk) => `--name=${disk.slice('/dev/'.length)} --filename=${disk}`);
  const command = `${program} ${writing} --time_based --runtime=${seconds} ${jobs.join(' ')}`;
  await guest.run(`( ${command} > ${output} 2>&1; echo $? > ${ended} ) >/dev/null 2>&1 &`);
}

export async function isVerifying(guest: Guest): Promise<boolean> {
  return (await guest.outcome(`test -e ${ended}`)).status !== 0;
}

/** Of a fio that has ended: its exit status and what it printed. */
export async function verdict(guest: Guest): Promise<{ status: number; text: string }> {
  return {
    status: Number(await guest.run(`cat ${ended}`)),
    text: await guest.run(`cat ${output}`),
  };
}
