/**
 * What happened, in order, under ids that grow and outlive a restart.
 *
 * Guarantees: the newest `eventsKept` are remembered, in memory and in STATE/events.jsonl; whoever subscribes
 * misses none that comes later. Telling an event never fails and never waits.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { EventInput } from '../pool/types.ts';
import { JsonLines } from './json-lines.ts';
import type { EventItem } from './schemas.ts';

/** A busy day of client comings and goings; about half a megabyte. */
const eventsKept = 4096;

const logLevels = { info: 'info', warning: 'warn', error: 'error' } as const;

function isEvent(value: object): value is EventItem {
  const { id, time, level, event, subject, message } = value as Partial<EventItem>;
  const texts = [time, level, event, subject, message];
  const isWhole =
    texts.every((text) => typeof text === 'string') && Object.hasOwn(logLevels, level ?? '');
  return (
    isWhole && Number.isSafeInteger(id) && Number(id) > 0 && !Number.isNaN(Date.parse(time ?? ''))
  );
}

export class EventLog {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #file: JsonLines<EventItem>;
  readonly #subscribers = new Set<(event: EventItem) => void>();
  #events: EventItem[];
  #closed = false;

  /** @param path made if absent */
  constructor(clock: Clock, log: Log, path: string) {
    const { file, lines } = JsonLines.open(path, isEvent);
    this.#clock = clock;
    this.#log = log;
    this.#file = file;
    this.#events = lines;
  }

  get lastId(): number {
    return this.#events.at(-1)?.id ?? 0;
  }

  emit(input: EventInput): void {
    const event: EventItem = {
      id: this.lastId + 1,
      time: new Date(this.#clock.nowMs()).toISOString(),
      level: input.level,
      event: input.kind,
      subject: input.subject,
      message: input.message,
    };
    this.#events.push(event);
    this.#log[logLevels[input.level]](
      { event: event.event, subject: event.subject, id: event.id },
      event.message,
    );
    this.#keep(event);
    for (const tell of this.#subscribers) tell(event);
  }

  /** Remembered events with a larger id and not older than `sinceMs`, oldest first. */
  after(id: number, sinceMs = 0): EventItem[] {
    return this.#events.filter((event) => event.id > id && Date.parse(event.time) >= sinceMs);
  }

  /** @returns the call that ends the subscription */
  subscribe(tell: (event: EventItem) => void): () => void {
    this.#subscribers.add(tell);
    return () => this.#subscribers.delete(tell);
  }

  /** Later events are still told to subscribers, and no longer kept. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }

  #keep(event: EventItem): void {
    if (this.#closed) return;
    try {
      this.#file.append(event);
      if (this.#file.lineCount < 2 * eventsKept) return;
      this.#events = this.#events.slice(-eventsKept);
      this.#file.rewrite(this.#events);
    } catch (error) {
      // A full or failing state disk must not take the service down with it.
      this.#log.warn({ err: error }, 'an event could not be written to the state folder');
    }
  }
}
