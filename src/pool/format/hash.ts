/**
 * XXH64 with seed 0, the one checksum of the format. Synchronous: the WebAssembly is compiled once, at import.
 */
import xxhash, { type XXHash } from 'xxhash-wasm';

const { h64Raw, create64 } = await xxhash();

const scratch64 = new BigUint64Array(1);
const scratch32 = new Uint32Array(scratch64.buffer);

/** The hash of all of `bytes`. */
export function xxh64(bytes: Uint8Array): bigint {
  return h64Raw(bytes);
}

/** The low 32 bits of the hash of all of `bytes`. */
export function xxh64Low(bytes: Uint8Array): number {
  scratch64[0] = h64Raw(bytes);
  return scratch32[0] as number;
}

/** A hash over bytes that come in pieces. */
export function xxh64Stream(): XXHash<bigint> {
  return create64();
}

const noBytes = new Uint8Array(8);

/** The hash of `bytes` with the eight bytes at `fieldAt` taken as zero: how a structure carries its own hash. */
export function xxh64WithoutField(bytes: Uint8Array, fieldAt: number): bigint {
  return create64()
    .update(bytes.subarray(0, fieldAt))
    .update(noBytes)
    .update(bytes.subarray(fieldAt + 8))
    .digest();
}
