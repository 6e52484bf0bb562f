/**
 * What all frames of a stream so far amount to: kept by whoever writes a stream and by whoever reads it, and compared at its end.
 */
import { chained, type Frame } from './format.ts';

export class FrameSeries {
  /** The next frame's. */
  sequence = 0;
  chain: bigint;
  dataBytes = 0;
  zeroBytes = 0;
  /** Of the volume: what lies before it has been told. */
  toBytes = 0;

  /** @param id of the stream */
  constructor(readonly id: bigint) {
    this.chain = id;
  }

  add({ kind, offset, length }: Frame, hash: bigint): void {
    if (kind === 'data') this.dataBytes += length;
    else this.zeroBytes += length;
    this.sequence += 1;
    this.toBytes = offset + length;
    this.chain = chained(this.chain, hash);
  }

  /** The frame that ends it. */
  get end(): Frame {
    const { sequence, dataBytes: offset, zeroBytes: length, chain: contentHash } = this;
    return { kind: 'end', sequence, offset, length, contentHash };
  }
}
