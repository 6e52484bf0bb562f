/**
 * The work that never stops in a soak: clients that write, and compare what they read, an operator on the snapshots of their volumes, and data that moves.
 *
 *   idle ⇄ working        `pause` and `resume` the operator; `endWith` a kill is the only end of the clients
 */
import { StampedClient } from '../../test/e2e/stamped-client.ts';
import type { Service } from '../lib/service.ts';
import { until } from '../lib/until.ts';
import { Movements } from '../torture/movements.ts';
import { quiet } from '../torture/operations.ts';
import type { Choice } from '../torture/restarts.ts';
import { SnapshotOperator } from '../torture/snapshot-operator.ts';
import { volumes } from './stage.ts';

const blocksPerClient = 2048;
/** Guests that take the whole machine leave nothing to moves and drains, which would go on for minutes. */
const pauseSeconds = 0.02;
const quietMs = 600_000;
/** As one who works by a schedule: a drain ends only while nobody makes new layers all the time. */
const operatorPauseMs = 500;

export class Load {
  readonly movements: Movements;
  readonly operator: SnapshotOperator;
  readonly #service: Service;
  readonly #clients: readonly StampedClient[];
  readonly #random: Choice;
  #working: Promise<void> | undefined;
  #failure: Error | undefined;
  #acknowledgedBefore = 0;

  constructor(service: Service, random: Choice) {
    this.#service = service;
    this.#random = random;
    this.operator = new SnapshotOperator(service, ['row', 'cow'], random, {
      pauseMs: operatorPauseMs,
    });
    this.movements = new Movements(service, { pool: 'main', volumes: ['cow', 'third'] }, random);
    const served: readonly string[] = ['row', ...volumes];
    this.#clients = served.map((volume, index) => {
      const range = { firstBlock: index * blocksPerClient, blockCount: blocksPerClient };
      const uri = service.uri(volume);
      return new StampedClient(service.folder, { uri, volume: index, ...range });
    });
  }

  get acknowledged(): number {
    return this.#acknowledgedBefore + this.#now();
  }

  begin(): void {
    for (const client of this.#clients) client.start(this.#random(0, 2 ** 31), { pauseSeconds });
    this.resume();
  }

  /** @throws Error what the operator was refused, or that a client has ended without a kill */
  expectAlive(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Every client has been answered so many more requests. */
  async progress(requests: number): Promise<void> {
    const goals = this.#clients.map(({ acknowledged }) => acknowledged + requests);
    const isReached = () => {
      this.expectAlive();
      return this.#clients.every(({ acknowledged }, index) => acknowledged >= Number(goals[index]));
    };
    await until(isReached, { what: `${requests} requests of each client`, timeoutMs: quietMs });
  }

  resume(): void {
    this.#working = this.operator.work().catch((error: Error) => {
      this.#failure ??= error;
    });
  }

  /** The operator ends its step, and whatever long work was begun comes to its end. */
  async pause(): Promise<void> {
    this.operator.expectKill();
    await this.#working;
    this.expectAlive();
    await this.movements.settled();
    await quiet(this.#service, { timeoutMs: quietMs });
  }

  /** Does what ends the service, and waits until everybody has noticed. */
  async endWith(kill: () => Promise<unknown>): Promise<void> {
    this.operator.expectKill();
    await kill();
    await this.#working;
    this.expectAlive();
    this.#acknowledgedBefore += this.#now();
    await Promise.all(this.#clients.map((client) => client.ended()));
  }

  /** Reads everything that clients know. @returns what is wrong */
  async verify(): Promise<string[]> {
    const verdicts = await Promise.all(this.#clients.map((client) => client.verify()));
    return verdicts.flatMap(({ wrong }) => wrong.map((each) => JSON.stringify(each)));
  }

  #now(): number {
    return this.#clients.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  }
}
