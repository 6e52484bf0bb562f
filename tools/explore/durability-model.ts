/**
 * What a volume may show after a power cut: the promises of a disk, sector by sector.
 *
 * Each sector has a history of contents in the order in which they were written. A cut leaves the last content that a
 * flush had covered, or any later one that had been submitted; nothing else, and never another volume's.
 */

export const sectorBytes = 512;
const stampMagic = 0x5350_4d54;

/** A stamp names who wrote it, where, and when; 0 stands for a sector that reads as zero. */
export type Serial = number;

/** What a sector holds: whose stamp (a clone shows its origin's), and which. */
export interface Content {
  readonly volume: number;
  readonly serial: Serial;
}

export interface Change extends Content {
  readonly submitted: number;
  /** Moment at which a flush or FUA had made it durable; Infinity while none had. */
  durable: number;
}

/** Fills `data` with the stamps of `serial` for the sectors from `firstSector` on. */
export function stamp(data: Uint8Array, volume: number, firstSector: number, serial: Serial): void {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4);
  for (let at = 0; at < words.length; at += 4) {
    words[at] = stampMagic;
    words[at + 1] = volume;
    words[at + 2] = firstSector + Math.floor((at * 4) / sectorBytes);
    words[at + 3] = serial;
  }
}

export class VolumeModel {
  readonly #sectors: Change[][];
  /** Acknowledged, and not yet covered by a flush. */
  #unflushed: Change[] = [];

  /** @param image what it shows from the beginning, as a clone does; durable with its creation */
  constructor(
    readonly id: number,
    readonly sizeBytes: number,
    image: readonly Content[] = [],
  ) {
    this.#sectors = Array.from({ length: sizeBytes / sectorBytes }, (_, sector) => {
      const content = image[sector];
      return content === undefined ? [] : [{ ...content, submitted: 0, durable: 0 }];
    });
  }

  /** What it shows now; nothing is under way. */
  image(): Content[] {
    return this.#sectors.map((history) => history.at(-1) ?? { volume: this.id, serial: 0 });
  }

  /** It begins to show something else altogether; `durable` is to be set when that is done. */
  become(image: readonly Content[], moment: number): Change[] {
    return this.#sectors.map((history, sector) => {
      const content = image[sector] ?? { volume: this.id, serial: 0 };
      const change = { ...content, submitted: moment, durable: Number.POSITIVE_INFINITY };
      history.push(change);
      return change;
    });
  }

  /** A write (or, with serial 0, a discard) of a range was submitted. */
  begin(offset: number, length: number, serial: Serial, moment: number): Change {
    const change = {
      volume: this.id,
      serial,
      submitted: moment,
      durable: Number.POSITIVE_INFINITY,
    };
    for (let at = offset; at < offset + length; at += sectorBytes) {
      this.#sectors[at / sectorBytes]?.push(change);
    }
    return change;
  }

  acknowledged(change: Change): void {
    this.#unflushed.push(change);
  }

  /** What a flush submitted now will cover. */
  beginFlush(): readonly Change[] {
    return [...this.#unflushed];
  }

  flushed(covered: readonly Change[], moment: number): void {
    for (const change of covered) change.durable = Math.min(change.durable, moment);
    const done = new Set(covered);
    this.#unflushed = this.#unflushed.filter((change) => !done.has(change));
  }

  /** Compares what a volume shows after a cut; @returns a sentence for each violation, at most a few. */
  violations(shown: Uint8Array, cut: number): string[] {
    const found: string[] = [];
    for (let sector = 0; sector < this.#sectors.length && found.length < 5; sector++) {
      const history = this.#sectors[sector] as Change[];
      const content = readStamp(shown, sector);
      const wrong = this.#judge(history, content, sector, cut);
      if (wrong !== undefined) found.push(`volume ${this.id} sector ${sector}: ${wrong}`);
    }
    return found;
  }

  #judge(history: Change[], content: Stamp, sector: number, cut: number): string | undefined {
    const kept = history.findLastIndex((change) => change.durable <= cut);
    const allowed = history.slice(Math.max(kept, 0)).filter((change) => change.submitted <= cut);
    if (kept < 0) allowed.push({ volume: this.id, serial: 0, submitted: 0, durable: 0 });
    const told = `allowed ${JSON.stringify(allowed)}, history ${JSON.stringify(history)}`;
    return judgeContent(content, allowed, sector, told);
  }
}

/** Compares a frozen image with what is shown; @returns a sentence for each violation, at most a few. */
export function imageViolations(image: readonly Content[], shown: Uint8Array): string[] {
  const found: string[] = [];
  for (let sector = 0; sector < image.length && found.length < 5; sector++) {
    const allowed = [image[sector] as Content];
    const wrong = judgeContent(readStamp(shown, sector), allowed, sector, JSON.stringify(allowed));
    if (wrong !== undefined) found.push(`sector ${sector}: ${wrong}`);
  }
  return found;
}

function judgeContent(
  content: Stamp,
  allowed: readonly Content[],
  sector: number,
  told: string,
): string | undefined {
  if (content === 'torn') return `shows no stamp; ${told}`;
  if (content === 'zero') {
    return allowed.some(({ serial }) => serial === 0) ? undefined : `reads as zero; ${told}`;
  }
  if (content.sector !== sector) return `shows sector ${content.sector}; ${told}`;
  const isAllowed = allowed.some(
    ({ volume, serial }) => volume === content.volume && serial === content.serial,
  );
  return isAllowed ? undefined : `shows ${content.serial} of volume ${content.volume}; ${told}`;
}

type Stamp = 'zero' | 'torn' | { volume: number; sector: number; serial: Serial };

function readStamp(data: Uint8Array, sector: number): Stamp {
  const words = new Uint32Array(
    data.buffer,
    data.byteOffset + sector * sectorBytes,
    sectorBytes / 4,
  );
  for (let at = 4; at < words.length; at++) {
    if (words[at] !== words[at % 4]) return 'torn';
  }
  const [magic, volume = 0, at = 0, serial = 0] = words;
  if (magic === 0 && volume === 0 && at === 0 && serial === 0) return 'zero';
  return magic === stampMagic ? { volume, sector: at, serial } : 'torn';
}
