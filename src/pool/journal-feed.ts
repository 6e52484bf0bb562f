/**
 * JournalFeed: batches into the journal, durable records out of it and into the pool's state, in one order.
 *
 * The data plane reports batches in the order in which they were given, so that a queue tells which one it means.
 */
import { invariant } from '../base/errors.ts';
import type { DurableEvent, PoolPlane } from '../dataplane/data-plane.ts';
import { type BatchOp, encodeBatch } from './format/batch.ts';
import { lastSerial, type PoolState } from './pool-state.ts';

export class JournalFeed {
  readonly #state: PoolState;
  readonly #epoch: number;
  readonly #payloadBytesMax: number;
  /** Batches on their way. */
  readonly #committing: (readonly BatchOp[])[] = [];

  constructor(state: PoolState, options: { epoch: number; payloadBytesMax: number }) {
    this.#state = state;
    this.#epoch = options.epoch;
    this.#payloadBytesMax = options.payloadBytesMax;
  }

  /** @returns the batch's sequence, when it is durable and applied; rejects as the data plane does */
  append(plane: PoolPlane, ops: readonly BatchOp[]): Promise<number> {
    const payload = encodeBatch(ops);
    invariant(payload.length <= this.#payloadBytesMax, 'a batch fits a quarter of the ring');
    this.#committing.push(ops);
    this.#state.ownerWatches.committing(ops);
    return plane.appendBatch(payload);
  }

  /** @throws StorageError pool/damaged the record names clusters that do not exist */
  apply(event: DurableEvent): void {
    const { sequence, head: position } = event;
    const before = this.#state.applied;
    if (event.deltas !== undefined) {
      const epoch = this.#epoch;
      const serial = lastSerial(before, epoch, event.serial);
      const at = { ...before, epoch, serial, sequence, position };
      this.#state.applyDeltas(event.deltas, at);
      return;
    }
    const ops = this.#committing.shift();
    invariant(ops !== undefined, 'a durable batch was committed here');
    this.#state.applyBatch(ops, { ...before, sequence, position });
  }
}
