/**
 * A host-local file of JSON lines, appended to and now and then rewritten shorter.
 *
 * Guarantees: an appended line survives the death of the process (it is in the page cache before `append` returns);
 * a power cut may lose the last lines, no others. A torn or foreign line is skipped when reading. Rewriting
 * replaces the file at once or not at all.
 */
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';

export class JsonLines<T extends object> {
  readonly #path: string;
  #file: number;
  #lineCount = 0;

  /** @throws Error of node:fs when the file cannot be opened */
  private constructor(path: string) {
    this.#path = path;
    this.#file = openSync(path, 'a', 0o600);
  }

  /** Opens the file, made if absent; `lines` are those readable, and what they should be, oldest first. */
  static open<T extends object>(
    path: string,
    isLine: (value: object) => value is T,
  ): { file: JsonLines<T>; lines: T[] } {
    const file = new JsonLines<T>(path);
    const text = readFileSync(path, 'utf8');
    const lines = text.split('\n').flatMap((line) => parsed(line).filter(isLine));
    file.#lineCount = lines.length;
    // A torn last line would swallow the next one.
    if (text !== '' && !text.endsWith('\n')) file.rewrite(lines);
    return { file, lines };
  }

  get lineCount(): number {
    return this.#lineCount;
  }

  append(line: T): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
    this.#lineCount += 1;
  }

  rewrite(lines: readonly T[]): void {
    const draft = `${this.#path}.new`;
    writeFileSync(draft, lines.map((line) => `${JSON.stringify(line)}\n`).join(''), {
      mode: 0o600,
    });
    renameSync(draft, this.#path);
    closeSync(this.#file);
    this.#file = openSync(this.#path, 'a', 0o600);
    this.#lineCount = lines.length;
  }

  close(): void {
    closeSync(this.#file);
  }
}

function parsed(line: string): object[] {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? [value] : [];
  } catch {
    return [];
  }
}
