/**
 * Debian's fio in the test guest: writes at random on raw disks and reads back what it wrote, all the time.
 */
import type { Equipment, Guest } from './guest.ts';

const program = '/usr/bin/fio';
const output = '/tmp/fio.out';
const ended = '/tmp/fio.ended';
const rounds = '/tmp/fio.rounds';
const stop = '/tmp/fio.stop';

export const fio: Equipment = { qemuArguments: [], drivers: [], programs: [program] };

// The seed in a block's header is checked, too: an older version of the block is an error, not only a damaged one.
const writing = [
  ...['--direct=1', '--ioengine=libaio', '--iodepth=16', '--rw=randwrite', '--bsrange=1k-32k'],
  ...['--fdatasync=64', '--verify=crc32c', '--verify_fatal=1', '--verify_backlog=128'],
].join(' ');

/** Long enough that most of a round is reading and writing, short enough that a disk's turn has several. */
const secondsOfRound = 5;

/** Starts fio on the guest's disks, for so many seconds; `verdict` is for when it has ended. */
export async function startVerifying(
  guest: Guest,
  disks: readonly string[],
  seconds: number,
): Promise<void> {
  await inBackground(guest, `${commandFor(disks, seconds)} > ${output} 2>&1; status=$?`);
}

/** Starts fio again and again until `stopVerifying`, or until it finds something wrong. */
export async function keepVerifying(guest: Guest, disks: readonly string[]): Promise<void> {
  const once = `${commandFor(disks, secondsOfRound)} > ${output} 2>&1 || { status=$?; break; }`;
  const again = `while [ ! -e ${stop} ]; do ${once}; n=$((n+1)); echo $n > ${rounds}; done`;
  await inBackground(guest, `status=0; n=0; ${again}`);
}

/** How often fio ended well since `keepVerifying`. */
export async function roundsVerified(guest: Guest): Promise<number> {
  return Number((await guest.outcome(`cat ${rounds} 2>/dev/null`)).output || 0);
}

/** Lets the last round come to its end; then the `verdict` is there. */
export async function stopVerifying(guest: Guest): Promise<void> {
  await guest.run(`touch ${stop}; while [ ! -e ${ended} ]; do sleep 0.1; done`);
}

function commandFor(disks: readonly string[], seconds: number): string {
  const jobs = disks.map((disk) => `--name=${disk.slice('/dev/'.length)} --filename=${disk}`);
  return `${program} ${writing} --time_based --runtime=${seconds} ${jobs.join(' ')}`;
}

/** @param steps leave fio's exit status in `status` */
async function inBackground(guest: Guest, steps: string): Promise<void> {
  await guest.run(`( ${steps}; echo $status > ${ended} ) >/dev/null 2>&1 &`);
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
