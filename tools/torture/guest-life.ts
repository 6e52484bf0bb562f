/**
 * One guest through many kills of the service: QEMU attached once, as `varve export qemu` says, fio verifying on a disk of either snapshot
 * mode all the time, snapshots taken and deleted beside it.
 *
 * The guest must see no error, fio nothing but what it wrote, and both must get on between the kills.
 */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import {
  fio,
  isVerifying,
  keepVerifying,
  stopVerifying,
  verdict,
} from '../../test/e2e/guest/fio.ts';
import { Guest } from '../../test/e2e/guest/guest.ts';
import type { Service } from '../lib/service.ts';
import { until } from '../lib/until.ts';
import { findingsAfterStop, findingsOnline } from './checks.ts';
import type { Life, LifeOptions } from './lives.ts';
import { emptyTally, type Tally } from './report.ts';
import { Restarts } from './restarts.ts';
import { makeScene, type Scene } from './scene.ts';
import { SnapshotOperator } from './snapshot-operator.ts';

const volumes = ['row', 'cow'] as const;
const roundsPerCheck = 10;
/** QEMU tries again after 1, 2, 4 … 16 s, and the machine may be busy. */
const reconnectMs = 120_000;

/** Boots the guest and lets it begin. */
export async function beginGuestLife(options: LifeOptions): Promise<Life> {
  const scene = await makeScene(options.random);
  const { service } = scene;
  try {
    const attachments = await Promise.all(
      volumes.map((volume) => service.varve('export', 'qemu', volume)),
    );
    const guest = await Guest.boot({
      folder: mkdtempSync(join(service.folder, 'guest-')),
      diskArguments: attachments.flatMap((each) => each.qemu_arguments as string[]),
      equipment: [fio],
    });
    await keepVerifying(guest, ['/dev/vda', '/dev/vdb']);
    return new GuestLife(scene, guest, options);
  } catch (error) {
    await service.dispose();
    throw error;
  }
}

class GuestLife implements Life {
  readonly tally: Tally = emptyTally();
  readonly service: Service;
  readonly #scene: Scene;
  readonly #guest: Guest;
  readonly #options: LifeOptions;
  readonly #operator: SnapshotOperator;
  readonly #restarts: Restarts;
  #rounds = 0;

  constructor(scene: Scene, guest: Guest, options: LifeOptions) {
    this.service = scene.service;
    this.#scene = scene;
    this.#guest = guest;
    this.#options = options;
    this.#operator = new SnapshotOperator(scene.service, volumes, options.random);
    this.#restarts = new Restarts(scene.service, options.random);
  }

  async live(): Promise<string[]> {
    const { kills, signal, onRound } = this.#options;
    while (this.tally.kills < kills && !signal.aborted) {
      const wrong = await this.#round();
      if (wrong.length > 0) return wrong;
      onRound();
    }
    return this.#end();
  }

  async dispose(): Promise<void> {
    await this.#guest.kill();
    await this.service.dispose();
  }

  async #round(): Promise<string[]> {
    await this.#workAndKill();
    const killedStarts = await this.#restarts.serveAgain();
    this.tally.kills += 1 + killedStarts;
    this.tally.killsWhileStarting += killedStarts;
    this.#rounds++;
    const isThorough = this.#rounds % roundsPerCheck === 0;
    const wrong = await this.#operator.judge({ contents: isThorough });
    if (isThorough) {
      this.tally.checks++;
      wrong.push(...(await findingsOnline(this.service)));
      wrong.push(...(await this.#guestErrors()));
    }
    this.#count();
    return wrong;
  }

  /** The guest gets on while the operator works, for a moment that the seed chooses; then the service is gone. */
  async #workAndKill(): Promise<void> {
    const { random } = this.#options;
    const requests = random(20, 400);
    const isBusy = random(0, 3) > 0;
    const working = isBusy ? this.#operator.work() : Promise.resolve();
    const loaded = until(() => this.#hasGotOn(requests), {
      what: `${requests} requests of the guest to each disk`,
      timeoutMs: reconnectMs,
      intervalMs: 20,
    });
    try {
      await Promise.race([loaded, working.then(() => loaded)]);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${await this.#describeGuest()}`, {
        cause: error,
      });
    }
    this.tally.acknowledged += sum(await this.#served());
    this.#operator.expectKill();
    await this.service.kill9();
    await working;
  }

  async #hasGotOn(requests: number): Promise<boolean> {
    return (await this.#served()).every((count) => count >= requests);
  }

  /** Requests of the guest to each of its disks, since the last start of the service. */
  async #served(): Promise<number[]> {
    const { items = [] } = await this.service.rest('GET', '/v1/clients');
    return volumes.map((volume) => {
      const connections = items.filter((client) => client.export === volume);
      return sum(connections.map(({ reads, writes }) => Number(reads) + Number(writes)));
    });
  }

  async #guestErrors(): Promise<string[]> {
    const wrong: string[] = [];
    const errors = await this.#guest.ioErrors();
    if (errors !== '') wrong.push(`the guest saw errors: ${errors}`);
    if (!(await isVerifying(this.#guest))) wrong.push(await this.#describeGuest());
    return wrong;
  }

  async #describeGuest(): Promise<string> {
    const fioSays = await verdict(this.#guest).catch(() => undefined);
    const errors = await this.#guest.ioErrors().catch((error: Error) => error.message);
    return fioSays === undefined
      ? `fio goes on; the guest's errors: ${errors}`
      : `fio ended with ${fioSays.status}: ${fioSays.text}\n${errors}`;
  }

  async #end(): Promise<string[]> {
    await stopVerifying(this.#guest);
    const { status, text } = await verdict(this.#guest);
    const wrong = status === 0 ? [] : [`fio ended with ${status}: ${text}`];
    const errors = await this.#guest.ioErrors();
    if (errors !== '') wrong.push(`the guest saw errors: ${errors}`);
    await this.#guest.powerOff();
    wrong.push(...(await this.#operator.judge()));
    wrong.push(...(await findingsAfterStop(this.service, this.#scene.disks)));
    this.#count();
    return wrong;
  }

  #count(): void {
    const { created, deleted } = this.#operator.counts;
    this.tally.snapshots = created;
    this.tally.deletions = deleted;
    this.tally.startsMs.splice(0, Infinity, ...this.#restarts.startsMs);
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
