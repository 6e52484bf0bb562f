/**
 * When this process is at rest: no microtask waits, and no thread of libuv's pool works for it.
 *
 * Files of the state folder and LevelDB's index are real, and their operations end on a thread of their own time. With a pool of one
 * thread (UV_THREADPOOL_SIZE=1) they are performed and told in the order in which they were asked for; who then waits for rest before
 * each step of a simulation sees nothing of how long they took. Whatever is asked for takes a new asynchronous id of Node's: when none
 * but our own was taken, nothing was.
 */
import { AsyncResource } from 'node:async_hooks';
import { stat } from 'node:fs';
import { invariant } from '../../src/base/errors.ts';
import { realTurn } from './host-time.ts';

const roundsOfMeasuring = 20;

/** An operation that the thread pool performs after everything that it was given before. */
function throughThreads(): Promise<void> {
  return new Promise((resolve) => stat('/', () => resolve()));
}

async function throughThreadsAndTurn(): Promise<void> {
  await throughThreads();
  await realTurn();
}

/** How many ids are taken by `work`: what else goes on takes more. */
async function idsOf(work: () => Promise<void>): Promise<number> {
  let fewest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < roundsOfMeasuring; round++) {
    const before = newestId();
    await work();
    fewest = Math.min(fewest, newestId() - before);
  }
  return fewest;
}

/** A folder that is made with those above it is asked for in many steps, under one id. */
function isAtFiles(): boolean {
  return process.getActiveResourcesInfo().some((resource) => resource.startsWith('FSReq'));
}

function newestId(): number {
  return new AsyncResource('rest').asyncId();
}

export class Rest {
  /** How many ids looking takes. */
  readonly #ofTurn: number;
  readonly #ofThreads: number;
  /** When it was at rest last. */
  #last: number;

  private constructor(ofTurn: number, ofThreads: number) {
    this.#ofTurn = ofTurn;
    this.#ofThreads = ofThreads;
    this.#last = newestId();
  }

  /** Of a process that does little else meanwhile. */
  static async measure(): Promise<Rest> {
    invariant(process.env.UV_THREADPOOL_SIZE === '1', 'a simulation has one thread for files');
    const ofTurn = await idsOf(realTurn);
    return new Rest(ofTurn, await idsOf(throughThreadsAndTurn));
  }

  async reach(): Promise<void> {
    await realTurn();
    let now = newestId();
    let expected = this.#last + this.#ofTurn;
    while (now !== expected || isAtFiles()) {
      expected = now + this.#ofThreads;
      await throughThreadsAndTurn();
      now = newestId();
    }
    this.#last = now;
  }
}
