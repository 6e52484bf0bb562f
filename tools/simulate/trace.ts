/**
 * What happened in a simulation, step by step, as a digest: two runs of one seed have the same, or something that the seed does not
 * decide had a say. The newest steps are kept in words.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, writeFileSync } from 'node:fs';

const wordsKept = 60;

export class Trace {
  readonly #hash = createHash('sha256');
  readonly #words: string[] = [];
  readonly #file: string | undefined;
  steps = 0;

  /** @param file gets all steps, in words */
  constructor(file?: string) {
    this.#file = file;
    if (file !== undefined) writeFileSync(file, '');
  }

  note(step: string): void {
    this.steps += 1;
    this.#hash.update(`${step}\n`);
    this.#words.push(step);
    if (this.#words.length > wordsKept) this.#words.shift();
    if (this.#file !== undefined) appendFileSync(this.#file, `${step}\n`);
  }

  /** Of everything so far; more may follow. */
  get digest(): string {
    return this.#hash.copy().digest('hex');
  }

  get newest(): readonly string[] {
    return this.#words;
  }
}
