/**
 * Data that moves between the disks of a pool while guests write: drains, rebalancing and moves of a volume, one after the other, each of which
 * goes on by itself after a kill and has to come to its end.
 */
import { messageOf } from '../../src/base/errors.ts';
import type { Service } from '../lib/service.ts';
import { until } from '../lib/until.ts';
import { hasEnded } from './operations.ts';
import type { Choice } from './restarts.ts';

/** Slow enough that a kill finds most of them under way. */
const bytesPerSecond = 20 * 1024 * 1024;
/** Guests come first, also on a busy machine: only one that hangs is an error. */
const settleMs = 600_000;

export class Movements {
  readonly #service: Service;
  readonly #place: { readonly pool: string; readonly volumes: readonly string[] };
  readonly #random: Choice;
  #running: string | undefined;
  #ended = 0;

  constructor(
    service: Service,
    place: { readonly pool: string; readonly volumes: readonly string[] },
    random: Choice,
  ) {
    this.#service = service;
    this.#place = place;
    this.#random = random;
  }

  /** Movements that have come to their end. */
  get ended(): number {
    return this.#ended;
  }

  /**
   * Begins one unless the last is still going on, or there is no room for what the seed has chosen.
   *
   * @throws Error the last one failed
   */
  async keepGoing(): Promise<void> {
    if (!(await this.#isOver())) return;
    try {
      const { id } = await this.#begin();
      this.#running = id as string;
    } catch (error) {
      if (!/"code":"pool\/full"/.test(messageOf(error))) throw error;
    }
  }

  /** Waits for the end of the one that goes on, if any. @throws Error it failed */
  async settled(): Promise<void> {
    await until(() => this.#isOver(), {
      what: `the end of operation ${this.#running}`,
      timeoutMs: settleMs,
      intervalMs: 50,
    });
  }

  async #isOver(): Promise<boolean> {
    if (this.#running === undefined) return true;
    if (!(await hasEnded(this.#service, this.#running))) return false;
    this.#running = undefined;
    this.#ended++;
    await this.#uncordonAll();
    return true;
  }

  async #begin() {
    const body = { rate_bytes_per_second: bytesPerSecond };
    const disks = await this.#disks();
    const disk = disks[this.#random(0, disks.length)] as string;
    const { pool, volumes } = this.#place;
    const volume = volumes[this.#random(0, volumes.length)];
    const kinds = [
      () => this.#service.rest('POST', `/v1/disks/${disk}/actions/drain`, body),
      () => this.#service.rest('POST', `/v1/pools/${pool}/actions/rebalance`, body),
      () => this.#service.rest('POST', `/v1/volumes/${volume}/actions/move`, { ...body, to: disk }),
    ] as const;
    return (kinds[this.#random(0, kinds.length)] as (typeof kinds)[number])();
  }

  /** A drain leaves its disk without new data. */
  async #uncordonAll(): Promise<void> {
    for (const disk of await this.#disks()) {
      await this.#service.rest('POST', `/v1/disks/${disk}/actions/uncordon`);
    }
  }

  async #disks(): Promise<string[]> {
    const { items = [] } = await this.#service.rest('GET', '/v1/disks');
    return items.filter(({ pool }) => pool === this.#place.pool).map(({ uuid }) => String(uuid));
  }
}
