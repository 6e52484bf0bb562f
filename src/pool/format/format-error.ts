/**
 * What decoders of the on-disk format say about bytes they refuse.
 *
 * Decoders are pure, so they know the bytes but neither disk nor pool: the caller turns a FormatError into the
 * operator's StorageError and adds the place. Branch on `code`.
 */

export type FormatErrorCode =
  /** Shorter than the structure it should hold. */
  | 'truncated'
  /** Another structure, or none: the magic is not there. */
  | 'no-label'
  | 'bad-magic'
  /** The checksum does not match the content. */
  | 'bad-checksum'
  /** Written by a later version of the format. */
  | 'newer-version'
  /** Carries a feature that must be understood before anything is read. */
  | 'refused-feature'
  | 'reserved-not-zero'
  /** A field contradicts another, or lies outside its range. */
  | 'bad-value'
  /** A valid structure, but not the one expected here: other pool, place, order or epoch. */
  | 'not-expected';

export class FormatError extends Error {
  override readonly name = 'FormatError';

  constructor(
    readonly code: FormatErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/** @throws FormatError `code` unless the condition holds. */
export function expectFormat(
  condition: boolean,
  code: FormatErrorCode,
  message: string,
): asserts condition {
  if (!condition) throw new FormatError(code, message);
}
