/**
 * What a volume may show after a power cut: the promises of a disk, sector by sector.
 *
 * Each sector has a history of contents in the order in which they were written. A cut leaves the last content that a
 * flush had covered, or any later one that had been submitted; nothing else, and never another volume's.
 */
import { type Content, type Image, type Serial, type Stamp, sectorBytes, show } from './sectors.ts';

export interface Change extends Content {
  readonly submitted: number;
  /** Moment at which a flush or FUA had made it durable; Infinity while none had. */
  durable: number;
}

/** A size that the volume gets. */
export interface Growth {
  readonly sizeBytes: number;
  readonly submitted: number;
  durable: number;
}

/** Enough to see what is wrong. */
const sentencesMax = 5;

export class VolumeModel {
  readonly #sectors: Change[][];
  /** What it shows if everything submitted until some cut is there; kept from cut to cut, as they differ in little. */
  readonly #likely: LikelyImage;
  /** Undefined since the history has changed. */
  #likelyCut: number | undefined;
  readonly #growths: Growth[];
  /** Acknowledged, and not yet covered by a flush. */
  #unflushed: Change[] = [];

  /** @param image what it shows from the beginning, as a clone does; durable with its creation */
  constructor(
    readonly id: number,
    sizeBytes: number,
    image: readonly Content[] = [],
  ) {
    this.#growths = [{ sizeBytes, submitted: 0, durable: 0 }];
    this.#sectors = Array.from({ length: sizeBytes / sectorBytes }, (_, sector) => {
      const content = image[sector];
      return content === undefined ? [] : [{ ...content, submitted: 0, durable: 0 }];
    });
    this.#likely = new LikelyImage(sizeBytes);
  }

  get sizeBytes(): number {
    return (this.#growths.at(-1) as Growth).sizeBytes;
  }

  /** It begins to become larger: what is new reads as zero. `durable` is to be set when that is done. */
  grow(sizeBytes: number, moment: number): Growth {
    this.#likelyCut = undefined;
    while (this.#sectors.length < sizeBytes / sectorBytes) this.#sectors.push([]);
    this.#likely.grow(sizeBytes);
    const growth = { sizeBytes, submitted: moment, durable: Number.POSITIVE_INFINITY };
    this.#growths.push(growth);
    return growth;
  }

  /** What it shows now; nothing is under way. */
  image(): Content[] {
    return this.#sectors.map((history) => history.at(-1) ?? { volume: this.id, serial: 0 });
  }

  /** It begins to show something else altogether; `durable` is to be set when that is done. */
  become(image: readonly Content[], moment: number): Change[] {
    this.#likelyCut = undefined;
    return this.#sectors.map((history, sector) => {
      const content = image[sector] ?? { volume: this.id, serial: 0 };
      const change = { ...content, submitted: moment, durable: Number.POSITIVE_INFINITY };
      history.push(change);
      return change;
    });
  }

  /** A write (or, with serial 0, a discard) of a range was submitted. */
  begin(offset: number, length: number, serial: Serial, moment: number): Change {
    this.#likelyCut = undefined;
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

  /** They were not, after all. */
  notFlushed(changes: readonly Change[]): void {
    for (const change of changes) change.durable = Number.POSITIVE_INFINITY;
    this.#unflushed.push(...changes);
  }

  /** Compares what a volume shows after a cut; @returns a sentence for each violation, at most a few. */
  violations(shown: Image, cut: number): string[] {
    const wrongSize = this.#judgeSize(shown.sizeBytes, cut);
    if (wrongSize !== undefined) return [`volume ${this.id} ${wrongSize}`];
    const found: string[] = [];
    const likely = this.#likelyAt(cut).subarray(0, shown.sizeBytes);
    for (const [sector, content] of shown.differing(likely)) {
      const wrong = this.#judge(content, sector, cut);
      if (wrong !== undefined) found.push(`volume ${this.id} sector ${sector}: ${wrong}`);
      if (found.length === sentencesMax) break;
    }
    return found;
  }

  #judgeSize(sizeBytes: number, cut: number): string | undefined {
    const allowed = allowedAt(this.#growths, cut);
    if (allowed.some((growth) => growth.sizeBytes === sizeBytes)) return undefined;
    return `has ${sizeBytes} bytes; allowed ${JSON.stringify(allowed)}`;
  }

  #likelyAt(cut: number): Uint8Array {
    if (this.#likelyCut === cut) return this.#likely.bytes;
    this.#likelyCut = cut;
    const zero = { volume: this.id, serial: 0 };
    for (let sector = 0; sector < this.#sectors.length; sector++) {
      const history = this.#sectors[sector] as Change[];
      let last = history.length - 1;
      while (last >= 0 && (history[last] as Change).submitted > cut) last -= 1;
      this.#likely.set(sector, history[last] ?? zero);
    }
    return this.#likely.bytes;
  }

  #judge(content: Stamp, sector: number, cut: number): string | undefined {
    const history = this.#sectors[sector] as Change[];
    const unwritten = { volume: this.id, serial: 0, submitted: 0, durable: 0 };
    const allowed = allowedAt([unwritten, ...history], cut);
    const wrong = contradiction(content, allowed, sector);
    if (wrong === undefined) return undefined;
    return `${wrong}; allowed ${JSON.stringify(allowed)}, history ${JSON.stringify(history)}`;
  }
}

/** The last that was durable at the cut, and all that had been begun behind it. */
function allowedAt<T extends Pick<Change, 'submitted' | 'durable'>>(
  history: readonly T[],
  cut: number,
): T[] {
  const kept = history.findLastIndex(({ durable }) => durable <= cut);
  return history.slice(Math.max(kept, 0)).filter(({ submitted }) => submitted <= cut);
}

/** Compares a frozen image with what is shown; @returns a sentence for each violation, at most a few. */
export function imageViolations(image: readonly Content[], shown: Image): string[] {
  const bytes = bytesOf(image);
  if (bytes.length !== shown.sizeBytes) {
    return [`has ${shown.sizeBytes} bytes, not ${bytes.length}`];
  }
  const found: string[] = [];
  for (const [sector, content] of shown.differing(bytes)) {
    const allowed = [image[sector] as Content];
    const wrong = contradiction(content, allowed, sector);
    if (wrong !== undefined) {
      found.push(`sector ${sector}: ${wrong}; allowed ${JSON.stringify(allowed)}`);
    }
    if (found.length === sentencesMax) break;
  }
  return found;
}

/** Bytes that are made to show one content after the other; what stays is not written anew. */
class LikelyImage {
  bytes: Uint8Array;
  readonly #contents: (Content | undefined)[] = [];

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
  }

  grow(sizeBytes: number): void {
    const grown = new Uint8Array(sizeBytes);
    grown.set(this.bytes);
    this.bytes = grown;
  }

  set(sector: number, content: Content): void {
    const before = this.#contents[sector];
    if (before?.serial === content.serial && before.volume === content.volume) return;
    this.#contents[sector] = content;
    show(this.bytes, sector, content);
  }
}

const imageBytes = new WeakMap<readonly Content[], Uint8Array>();

/** A snapshot's are looked at again and again. */
function bytesOf(image: readonly Content[]): Uint8Array {
  const known = imageBytes.get(image);
  if (known !== undefined) return known;
  const bytes = new Uint8Array(image.length * sectorBytes);
  for (const [sector, content] of image.entries()) show(bytes, sector, content);
  imageBytes.set(image, bytes);
  return bytes;
}

/** @returns what is wrong with the content, in words; undefined when it is allowed */
function contradiction(
  content: Stamp,
  allowed: readonly Content[],
  sector: number,
): string | undefined {
  if (content === 'torn') return 'shows no stamp';
  if (content === 'zero') {
    return allowed.some(({ serial }) => serial === 0) ? undefined : 'reads as zero';
  }
  if (content.sector !== sector) return `shows sector ${content.sector}`;
  const isAllowed = allowed.some(
    ({ volume, serial }) => volume === content.volume && serial === content.serial,
  );
  return isAllowed ? undefined : `shows ${content.serial} of volume ${content.volume}`;
}
