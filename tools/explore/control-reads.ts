/**
 * Which sectors of a disk the control plane has read as they were at first: all that it may have decided by.
 *
 * A sector that it wrote whole before it read it says nothing of what was there.
 */
import { sectorBytes } from './sectors.ts';

const untouched = 0;
const read = 1;
const written = 2;

export class ControlReads {
  readonly #sectors: Uint8Array;
  #isPaused = false;

  constructor(sizeBytes: number) {
    this.#sectors = new Uint8Array(sizeBytes / sectorBytes);
  }

  noteRead(offset: number, length: number): void {
    if (this.#isPaused) return;
    const end = Math.ceil((offset + length) / sectorBytes);
    this.#note(Math.floor(offset / sectorBytes), end, read);
  }

  /** A sector that is written in part keeps the rest of what it was. */
  noteWrite(offset: number, length: number): void {
    const end = Math.floor((offset + length) / sectorBytes);
    this.#note(Math.ceil(offset / sectorBytes), end, written);
  }

  /** While `work` runs what is read is data that nothing is decided by. */
  async pausedDuring<T>(work: () => Promise<T>): Promise<T> {
    this.#isPaused = true;
    try {
      return await work();
    } finally {
      this.#isPaused = false;
    }
  }

  /** Takes over what others have read. @returns whether there was anything new */
  add(others: ControlReads): boolean {
    const [ours, theirs] = [this.#sectors, others.#sectors];
    let isNew = false;
    for (let at = theirs.indexOf(read); at >= 0; at = theirs.indexOf(read, at + 1)) {
      if (ours[at] === read) continue;
      ours[at] = read;
      isNew = true;
    }
    return isNew;
  }

  /** What was read: offset, bytes, …; ascending, with something between each two. */
  ranges(): number[] {
    const ranges: number[] = [];
    const sectors = this.#sectors;
    for (let from = sectors.indexOf(read); from >= 0; from = sectors.indexOf(read, from)) {
      const first = from;
      while (sectors[from] === read) from += 1;
      ranges.push(first * sectorBytes, (from - first) * sectorBytes);
    }
    return ranges;
  }

  #note(from: number, end: number, state: number): void {
    const sectors = this.#sectors;
    for (let sector = from; sector < end; sector++) {
      if (sectors[sector] === untouched) sectors[sector] = state;
    }
  }
}
