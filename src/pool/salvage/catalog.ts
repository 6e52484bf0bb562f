/**
 * The pool's records as far as they are known: volumes and snapshots by name, and the layers that each reads through.
 */
import type { FindingLog } from '../check/findings.ts';
import { type ForeignDiskRecord, isForeign } from '../foreign-disk.ts';
import type { IndexEntry } from '../format/checkpoint-entry.ts';
import { recordKey } from '../format/index-keys.ts';
import type { Generation } from '../overlay.ts';
import { isIn, type KeyGap, knownKey } from './entries.ts';
import type { SalvageTarget } from './types.ts';

type Fields = Readonly<Record<string, unknown>>;

/** The layers that a target reads through, the uppermost first. */
export interface Chain {
  readonly layers: readonly number[];
  /** The last one may read through another, of which there is no record any more. */
  readonly isBroken: boolean;
}

export class Catalog {
  readonly #records = new Map<string, Fields>();
  readonly #gaps: KeyGap[] = [];
  readonly #log: FindingLog;

  constructor(log: FindingLog) {
    this.#log = log;
  }

  add(entry: IndexEntry | KeyGap): void {
    if ('key' in entry) this.#set(entry.key, entry.value);
    else this.#gaps.push(entry);
  }

  /** Lays the journal's changes over. */
  change(changes: Generation): void {
    for (const { key, value } of changes.keyChanges()) this.#set(key, value);
  }

  /** @returns by name */
  targets(): SalvageTarget[] {
    const named = new Map<number, string>();
    const targets: SalvageTarget[] = [];
    for (const [id, { name, headLayer, sizeBytes, scratch }] of this.#ofKind('volume')) {
      if (scratch === true) continue;
      if (typeof name !== 'string' || !isCount(headLayer) || !isCount(sizeBytes)) {
        this.#log.damage('record/malformed', `volume/${id}`, 'lacks name, head layer or size');
        continue;
      }
      named.set(id, name);
      targets.push({ name, volume: name, snapshot: null, sizeBytes, layer: headLayer });
    }
    for (const [id, { volume, name, layer, sizeBytes }] of this.#ofKind('snapshot')) {
      if (typeof name !== 'string' || !isCount(layer) || !isCount(sizeBytes)) {
        this.#log.damage('record/malformed', `snapshot/${id}`, 'lacks name, layer or size');
        continue;
      }
      const of = named.get(Number(volume)) ?? `volume-${String(volume)}`;
      targets.push({ name: `${of}@${name}`, volume: of, snapshot: name, sizeBytes, layer });
    }
    return targets.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  chainOf(layer: number): Chain {
    const layers: number[] = [];
    for (let at: unknown = layer; ; ) {
      if (!isCount(at) || layers.includes(at)) return { layers, isBroken: true };
      layers.push(at);
      const record = this.#records.get(`layer/${at}`);
      if (record === undefined) return { layers, isBroken: true };
      if (record.parent === null || record.parent === undefined) return { layers, isBroken: false };
      at = record.parent;
    }
  }

  foreignDisks(): ForeignDiskRecord[] {
    return this.#ofKind('disk').flatMap(([, record]) => (isForeign(record) ? [record] : []));
  }

  /** What cannot be listed because its records are lost. */
  tellLost(): void {
    for (const gap of this.#gaps) {
      const first = recordKey('\u0000');
      const reaches = gap.before === null || Buffer.compare(gap.before, first) > 0;
      if (!reaches) continue;
      const from = gap.after !== null && isIn({ after: first, before: null }, gap.after);
      const after = from ? ` behind ${nameOf(gap.after)}` : '';
      const before = gap.before === null ? '' : ` before ${nameOf(gap.before)}`;
      const message = `records${after}${before} are lost: volumes and snapshots among them are not listed`;
      this.#log.damage('record/lost', 'pool', message);
    }
  }

  #set(key: Uint8Array, value: Uint8Array | null): void {
    const parsed = knownKey(key);
    if (parsed?.kind !== 'record') return;
    const fields = value === null ? undefined : fieldsIn(value);
    if (fields !== undefined) {
      this.#records.set(parsed.name, fields);
      return;
    }
    this.#records.delete(parsed.name);
    if (value !== null) this.#log.damage('record/malformed', parsed.name, 'is no JSON object');
  }

  #ofKind(kind: string): [id: number, fields: Fields][] {
    const prefix = `${kind}/`;
    return [...this.#records]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, fields]) => [Number(name.slice(prefix.length)), fields]);
  }
}

function nameOf(key: Uint8Array | null): string {
  return Buffer.from(key ?? [])
    .subarray(1)
    .toString('utf8');
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function fieldsIn(value: Uint8Array): Fields | undefined {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value).toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Fields) : undefined;
  } catch {
    return undefined;
  }
}
