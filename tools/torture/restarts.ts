/**
 * Starts of a service that has been killed, some of them killed as well: at any moment between the first instruction and serving.
 *
 * Every second return is killed once on its way, every fourth twice in a row.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Service } from '../lib/service.ts';

/** A whole number from `low` up to, not including, `high`. */
export type Choice = (low: number, high: number) => number;

/** Far beyond what opening takes: only a start that hangs is an error, however busy the machine. */
export const readyMs = 120_000;

export class Restarts {
  readonly #service: Service;
  readonly #random: Choice;
  /** Milliseconds from the start to serving, of each start that was left alive. */
  readonly startsMs: number[] = [];
  #count = 0;

  constructor(service: Service, random: Choice) {
    this.#service = service;
    this.#random = random;
  }

  /** Brings a killed service back. @returns how many starts were killed before one was left alive */
  async serveAgain(): Promise<number> {
    const round = this.#count++;
    const killed = round % 4 === 3 ? 2 : round % 2;
    for (let start = 0; start < killed; start++) await this.#killWhileStarting();
    const begun = performance.now();
    await this.#service.restart();
    this.startsMs.push(performance.now() - begun);
    return killed;
  }

  async #killWhileStarting(): Promise<void> {
    this.#service.launch();
    // As long as a start took before, and a little longer: the disks are opened at its end.
    const usual = this.startsMs.at(-1) ?? 1500;
    await delay(this.#random(20, Math.ceil(usual * 1.1)));
    await this.#service.kill9();
  }
}
