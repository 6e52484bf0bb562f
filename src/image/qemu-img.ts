/**
 * qemu-img, which knows the image formats: one child process per call, arguments in a list, no shell.
 *
 * Guarantees: what it says goes into the error; a call that is cancelled is killed before it rejects, and with the service; one that is to pause is stopped at the next
 * hundredth of its work.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { messageOf, StorageError } from '../base/errors.ts';

export interface QemuImgWatch {
  readonly signal: AbortSignal;
  /** @param share of the work, 0 to 1 */
  readonly report: (share: number) => void;
  /** Resolves when it may go on. */
  readonly whileRunning: () => Promise<void>;
}

export interface QemuImgEnd {
  readonly status: number;
  readonly output: string;
  /** What it says is wrong, without its name. */
  readonly complaint: string;
}

/** `(12.34/100%)` */
const progressPattern = /\((\d+\.\d+)\/100%\)/g;
/** Of what it complains of, one line for each fault of an image: the beginning tells enough. */
const complaintCharsMax = 2000;
/** Of setpriv: what it was to run is not there. */
const notFound = 127;

/** @throws StorageError image/tool it is not there; why the signal was given */
export async function qemuImg(args: readonly string[], watch?: QemuImgWatch): Promise<QemuImgEnd> {
  watch?.signal.throwIfAborted();
  // It must not outlive a service that is killed: stopped in the middle, it would never end.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-img', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const kill = () => child.kill('SIGKILL');
  watch?.signal.addEventListener('abort', kill);
  try {
    const [status, output, complaint] = await Promise.all([
      ended(child),
      watch === undefined ? textOf(child.stdout) : followed(child, watch),
      textOf(child.stderr),
    ]);
    watch?.signal.throwIfAborted();
    const said = withoutName(complaint);
    if (status === notFound) {
      throw new StorageError('image/tool', `qemu-img cannot be run: ${said}`);
    }
    return { status, output, complaint: said };
  } finally {
    kill();
    watch?.signal.removeEventListener('abort', kill);
  }
}

async function ended(child: ChildProcess): Promise<number> {
  try {
    const [status, signal] = await once(child, 'close');
    if (status !== null) return status;
    throw new StorageError('image/io', `qemu-img was ended by ${signal}`);
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    throw new StorageError('image/tool', `qemu-img cannot be run: ${messageOf(cause)}`, { cause });
  }
}

async function textOf(stream: AsyncIterable<Buffer> | null): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** @returns nothing: there is only progress in it */
async function followed(child: ChildProcess, { report, whileRunning }: QemuImgWatch): Promise<''> {
  for await (const chunk of child.stdout ?? []) {
    const last = [...String(chunk).matchAll(progressPattern)].at(-1);
    if (last !== undefined) report(Number(last[1]) / 100);
    child.kill('SIGSTOP');
    await whileRunning();
    child.kill('SIGCONT');
  }
  return '';
}

function withoutName(complaint: string): string {
  const lines = complaint
    .split('\n')
    .map((line) => line.replace(/^(qemu-img|setpriv): /, '').trim());
  return lines
    .filter((line) => line !== '')
    .join('; ')
    .slice(0, complaintCharsMax);
}
