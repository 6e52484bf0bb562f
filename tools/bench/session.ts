/**
 * A benchmark session: every workload on every server, interleaved, several rounds.
 *
 * Within a round each workload visits all servers before the next workload begins, in an order that rotates
 * with the round: slow drifts of the machine (heat, neighbours, page cache) then meet everybody alike.
 * Servers of overwrite and read workloads are filled once and stay up; fresh ones start anew each time.
 * A measurement counts only if the data that was written before it is there after it (witness.ts). Servers that stay up are asked for it
 * together, when a workload has visited all of them.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import { type Extent, fill, type Measurement, measure } from './fio.ts';
import type { RunningServer, ServerKind } from './servers.ts';
import type { Setting } from './settings.ts';
import { hearWitness, placeWitness, witnessRoomMiB } from './witness.ts';
import type { Workload } from './workloads.ts';

export interface Plan extends Extent {
  readonly rounds: number;
  /** An existing folder on the file system to be measured. */
  readonly folder: string;
  readonly servers: readonly ServerKind[];
  readonly workloads: readonly Workload[];
  readonly setting: Setting;
}

export interface Result {
  readonly workload: Workload;
  readonly server: ServerKind;
  readonly round: number;
  /** An error's message where there is no measurement. */
  readonly outcome: Measurement | string;
}

/** Runs the plan; `onResult` hears each result as it comes. A failing server costs its results, not the session. */
export async function runSession(
  given: Plan,
  onResult: (result: Result) => void,
): Promise<readonly Result[]> {
  const plan = { ...given, servers: given.servers.filter((kind) => kind.takes(given.setting)) };
  const stage = new Stage(plan);
  const results: Result[] = [];
  try {
    for (let round = 0; round < plan.rounds; round++) {
      for (const workload of plan.workloads) {
        const servers = rotated(plan.servers, round);
        const outcomes = await stage.visit(servers, workload);
        for (const [at, server] of servers.entries()) {
          const result = { workload, server, round, outcome: outcomes[at] ?? 'not measured' };
          results.push(result);
          onResult(result);
        }
      }
    }
    return results;
  } finally {
    await stage.close();
  }
}

/** The running servers, by kind; knows which workload may share one. */
class Stage {
  readonly #plan: Plan;
  readonly #filled = new Map<ServerKind, RunningServer>();
  #started = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** One after the other. @returns in their order, a measurement of each, or what went wrong */
  async visit(
    kinds: readonly ServerKind[],
    workload: Workload,
  ): Promise<readonly (Measurement | string)[]> {
    const outcomes: (Measurement | string)[] = [];
    for (const kind of kinds) {
      const measured = workload.fresh
        ? this.#measureFresh(kind, workload)
        : this.#measureFilled(kind, workload);
      outcomes.push(await measured.catch(messageOf));
    }
    if (workload.fresh) return outcomes;
    return Promise.all(
      kinds.map(async (kind, at) => {
        const server = this.#filled.get(kind);
        const outcome = outcomes[at] ?? 'not measured';
        if (server === undefined || typeof outcome === 'string') return outcome;
        return hearWitness(server, this.#plan.spanMiB).then(() => outcome, messageOf);
      }),
    );
  }

  async close(): Promise<void> {
    for (const server of this.#filled.values()) await server.stop();
    this.#filled.clear();
  }

  async #measureFresh(kind: ServerKind, workload: Workload): Promise<Measurement> {
    const server = await this.#start(kind);
    try {
      const measured = await this.#measureOn(server, workload);
      await hearWitness(server, this.#plan.spanMiB);
      return measured;
    } finally {
      await server.stop();
    }
  }

  async #measureFilled(kind: ServerKind, workload: Workload): Promise<Measurement> {
    return this.#measureOn(await this.#filledServer(kind), workload);
  }

  async #measureOn(server: RunningServer, workload: Workload): Promise<Measurement> {
    // The writeback that another server's run left behind must not be this one's.
    await run('sync', ['-f', this.#plan.folder], { timeoutMs: 300_000 });
    return measure(server, workload, this.#plan);
  }

  async #filledServer(kind: ServerKind): Promise<RunningServer> {
    const present = this.#filled.get(kind);
    if (present !== undefined) return present;
    const { spanMiB } = this.#plan;
    const server = await this.#start(kind, (started) => fill(started, spanMiB));
    this.#filled.set(kind, server);
    return server;
  }

  /** Nothing is left of one that cannot be prepared. */
  async #start(
    kind: ServerKind,
    prepare: (server: RunningServer) => Promise<void> = async () => {},
  ): Promise<RunningServer> {
    const folder = join(this.#plan.folder, `${++this.#started}`);
    mkdirSync(folder);
    const { spanMiB, setting } = this.#plan;
    const sizeMiB = 2 * spanMiB + witnessRoomMiB;
    const server = await kind.start({ folder, sizeMiB, setting });
    const stop = async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    };
    try {
      await placeWitness(server, spanMiB);
      await prepare(server);
      return { ...server, stop };
    } catch (error) {
      await stop();
      throw error;
    }
  }
}

function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
