/**
 * The guest agent's stream as messages: JSON lines, cut at newlines and at the byte 0xFF.
 *
 * Guarantees: chunks may split or join lines in any way; what is no JSON object is skipped; memory is bounded, since a
 * line longer than `lineBytesMax` (somebody's file read, answered after they left) is skipped as it comes.
 * 0xFF is in no UTF-8 text: the agent sends it before the answer to guest-sync-delimited, and whatever stood
 * unfinished before it belongs to somebody else.
 *
 * Source: QEMU Guest Agent Protocol, guest-sync-delimited.
 */

export interface AgentMessage {
  /** It came right behind the byte 0xFF. */
  readonly delimited: boolean;
  readonly content: Readonly<Record<string, unknown>>;
}

export const delimiter = 0xff;
const newline = 0x0a;
/** The answers that we wait for have less than 1 KiB, an error's description included. */
const lineBytesMax = 64 * 1024;

export class AgentLines {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #delimited = false;

  /** Takes what came. @returns the messages that it completed, in order */
  push(chunk: Buffer): AgentMessage[] {
    const messages: AgentMessage[] = [];
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte !== newline && byte !== delimiter) continue;
      this.#keep(chunk.subarray(start, at));
      start = at + 1;
      const content = this.#line();
      if (byte === newline && content !== undefined) {
        messages.push({ delimited: this.#delimited, content });
      }
      this.#delimited = byte === delimiter;
    }
    this.#keep(chunk.subarray(start));
    return messages;
  }

  #keep(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes > lineBytesMax) this.#pieces = [];
    else if (piece.length > 0) this.#pieces.push(piece);
  }

  /** What is kept, as an object; undefined when it is none. Afterwards nothing is kept. */
  #line(): Record<string, unknown> | undefined {
    const text = Buffer.concat(this.#pieces).toString();
    this.#pieces = [];
    this.#bytes = 0;
    return parseObject(text);
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What JSON calls an object: no array, no null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
