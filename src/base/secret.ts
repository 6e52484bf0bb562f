/**
 * A password that is passed around and never shown: JSON, logs and messages get nothing of it.
 */
import { inspect } from 'node:util';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** For whoever needs the secret itself. */
  reveal(): string {
    return this.#value;
  }

  /** Left out of objects. */
  toJSON(): undefined {
    return undefined;
  }

  toString(): string {
    return '(secret)';
  }

  [inspect.custom](): string {
    return '(secret)';
  }
}
