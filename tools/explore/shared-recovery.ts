/**
 * One recovery for all states that differ only in what no recovery decides by: the contents of data clusters, mostly.
 *
 *   state ── examined ──▶ what was read ──▶ twin: everything else says where it lies ── opened, finished, salvaged ──▶ origins of each sector shown
 *                                                                                                                        │
 *   any state that is the same in what was read  ──────────────────────── sectors from there ◀──────────────────────────┘  judged
 *
 * Why that says of such a state what opening it would say:
 *   - Whoever checks, salvages and opens pools decides by what it reads of the disks, by what the host remembers, and by nothing else. Of the
 *     disks, all that the control plane reads is noted (control-reads.ts), and the data plane moves data without looking at it. So in two
 *     states that are alike in both the same is written, the same maps come about, the same is found wrong.
 *   - What is shown is therefore for each sector of an image one and the same sector of the disks as they were left, or zeroes. Which one is
 *     not told by the maps but by what the serving code reads, copies and shows when every sector says where it lies.
 *   - A byte that is decided by, and was not noted, is on the twin not what it was. A recovery that reads more of the twin than was noted is made
 *     again with that noted; an image that shows anything but sectors that say where they lie is of no use to others.
 * And states that are opened by themselves all the same must show what they show through the shared one (explore-life.ts).
 */
import { labelBytes } from '../../src/pool/format/geometry.ts';
import { type Examined, examine, type Opened, open, type Remains, type When } from './afterlife.ts';
import type { ReadsByName, Shown } from './content.ts';
import type { ControlReads } from './control-reads.ts';
import { isSameOrigin, type Origins, originsOf } from './origins.ts';
import type { CutDisk, CutState, RecordingPlane } from './recording-plane.ts';
import { type Image, type ImageBytes, readStamp, type Stamp, sectorBytes } from './sectors.ts';

type OriginsByName = ReadonlyMap<string, readonly Origins[]>;

/** What was shown at one time. */
interface Glimpse {
  readonly when: When;
  readonly volumes: OriginsByName;
  readonly snapshots: OriginsByName;
}

/** What holds of every state that is like the one it was made with. Its sentences are of what is wrong whatever the data is. */
export interface Recovery extends Examined, Opened {
  readonly glimpses: readonly Glimpse[];
}

/** Besides the disks. */
export type Circumstances = Pick<Remains, 'memory' | 'salvage'>;

/** States are alike that are so in these ranges: place of the disk, offset, bytes, … */
interface Likeness {
  readonly ranges: Float64Array;
  /** By the digest of what is there; undefined: there is none to be shared. */
  readonly recoveries: Map<bigint, Recovery | undefined>;
}

/** Reads of the twin that nobody has read of the state: more of it is noted for each try. */
const triesMax = 4;

/** Of one life. */
export class SharedRecoveries {
  readonly #plane: RecordingPlane;
  readonly #folder: string;
  /** By what the labels are, and the circumstances: what else is read depends on them. */
  readonly #likenesses = new Map<string, Likeness[]>();

  /** @param folder for what hosts keep */
  constructor(plane: RecordingPlane, folder: string) {
    this.#plane = plane;
    this.#folder = folder;
  }

  /** @returns undefined when none has been made for such a state */
  find(
    state: CutState,
    circumstances: Circumstances,
  ): { readonly recovery: Recovery | undefined } | undefined {
    for (const { ranges, recoveries } of this.#alike(state, circumstances)) {
      const digest = this.#plane.digestOf(state, ranges);
      if (recoveries.has(digest)) return { recovery: recoveries.get(digest) };
    }
    return undefined;
  }

  /** Makes one for the state, which stays as it is. @returns undefined when none can be shared */
  async make(state: CutState, circumstances: Circumstances): Promise<Recovery | undefined> {
    const examined = await examine(state.disks);
    const noted = state.disks.map(({ plane }) => plane.reads);
    let recovery: Recovery | 'more was read' | undefined = 'more was read';
    for (let tries = 0; recovery === 'more was read' && tries < triesMax; tries++) {
      recovery = await this.#try(state, noted, { ...circumstances, ...examined });
    }
    const made = recovery === 'more was read' ? undefined : recovery;
    this.#keep(state, circumstances, made);
    return made;
  }

  async #try(
    state: CutState,
    noted: readonly ControlReads[],
    { memory, salvage, ...examined }: Circumstances & Examined,
  ): Promise<Recovery | 'more was read' | undefined> {
    const { disks, dispose } = await this.#plane.twinOf(state, noted);
    const glimpses: (Glimpse | undefined)[] = [];
    try {
      const opened = await open(this.#plane, {
        disks,
        memory,
        salvage,
        folder: this.#folder,
        look: async (shown, when) => {
          glimpses.push(await glimpse(shown, when));
          return [];
        },
      });
      if (noteAll(noted, disks)) return 'more was read';
      const sentences = [...examined.sentences, ...opened.sentences];
      const whole = glimpses.flatMap((each) => each ?? []);
      if (whole.length < glimpses.length) return undefined;
      return { ...opened, recordKinds: examined.recordKinds, sentences, glimpses: distinct(whole) };
    } catch (error) {
      if (noteAll(noted, disks)) return 'more was read';
      throw error;
    } finally {
      dispose();
    }
  }

  #keep(state: CutState, circumstances: Circumstances, recovery: Recovery | undefined): void {
    const ranges = Float64Array.from(
      state.disks.flatMap(({ plane }, place) => withPlace(place, plane.reads.ranges())),
    );
    const alike = this.#alike(state, circumstances);
    const known = alike.find((likeness) => isEqual(likeness.ranges, ranges));
    const likeness = known ?? { ranges, recoveries: new Map() };
    likeness.recoveries.set(this.#plane.digestOf(state, ranges), recovery);
    if (known === undefined) alike.push(likeness);
  }

  #alike(state: CutState, { memory, salvage }: Circumstances): Likeness[] {
    const labels = state.disks.flatMap((_, place) => [place, 0, 2 * labelBytes]);
    const digest = this.#plane.digestOf(state, Float64Array.from(labels));
    const key = `${digest} ${memory?.moment} ${salvage}`;
    const known = this.#likenesses.get(key);
    if (known !== undefined) return known;
    const none: Likeness[] = [];
    this.#likenesses.set(key, none);
    return none;
  }
}

/** Notes for each disk what was read of its twin. @returns whether that was more than was noted */
function noteAll(noted: readonly ControlReads[], twins: readonly CutDisk[]): boolean {
  let isMore = false;
  for (const [at, { plane }] of twins.entries()) {
    if (noted[at]?.add(plane.reads)) isMore = true;
  }
  return isMore;
}

function withPlace(place: number, ranges: readonly number[]): number[] {
  const placed: number[] = [];
  for (let at = 0; at + 1 < ranges.length; at += 2) {
    placed.push(place, ranges[at] as number, ranges[at + 1] as number);
  }
  return placed;
}

function isEqual(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((value, at) => value === b[at]);
}

/** Reads everything that is shown. @returns undefined when something comes from nowhere */
async function glimpse(shown: Shown<ImageBytes>, when: When): Promise<Glimpse | undefined> {
  const volumes = await originsByName(shown.volumes);
  const snapshots = await originsByName(shown.snapshots);
  return volumes && snapshots && { when, volumes, snapshots };
}

async function originsByName(reads: ReadsByName<ImageBytes>): Promise<OriginsByName | undefined> {
  const found = new Map<string, Origins[]>();
  for (const [name, all] of reads) {
    const origins: Origins[] = [];
    for (const read of all) {
      const origin = originsOf((await read()).bytes);
      if (origin === undefined) return undefined;
      origins.push(origin);
    }
    found.set(name, origins);
  }
  return found;
}

/** Without those that show what an earlier one does. */
function distinct(glimpses: readonly Glimpse[]): Glimpse[] {
  return glimpses.filter((glimpse, at) => {
    return !glimpses.slice(0, at).some((earlier) => showsTheSame(earlier, glimpse));
  });
}

function showsTheSame(a: Glimpse, b: Glimpse): boolean {
  return isSameByName(a.volumes, b.volumes) && isSameByName(a.snapshots, b.snapshots);
}

function isSameByName(a: OriginsByName, b: OriginsByName): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([name, origins]) => {
    const others = b.get(name);
    return (
      others?.length === origins.length &&
      origins.every((origin, at) => isSameOrigin(origin, others[at] as Origins))
    );
  });
}

/** What a state shows, told by a recovery of another one that is like it. */
export function shownThrough(
  { volumes, snapshots }: Glimpse,
  state: CutState,
  plane: RecordingPlane,
): Shown {
  const readsOf = (origins: OriginsByName) =>
    new Map(
      [...origins].map(([name, all]) => {
        return [name, all.map((each) => async () => new ImageOfSectors(each, state, plane))];
      }),
    );
  return { volumes: readsOf(volumes), snapshots: readsOf(snapshots) };
}

class ImageOfSectors implements Image {
  readonly #origins: Origins;
  readonly #state: CutState;
  readonly #plane: RecordingPlane;

  constructor(origins: Origins, state: CutState, plane: RecordingPlane) {
    this.#origins = origins;
    this.#state = state;
    this.#plane = plane;
  }

  get sizeBytes(): number {
    return this.#origins.sizeBytes;
  }

  wholeBytes(): Uint8Array {
    const whole = new Uint8Array(this.sizeBytes);
    const blank = new Uint8Array(this.sizeBytes);
    for (const [sector, bytes] of this.#differing(blank)) whole.set(bytes, sector * sectorBytes);
    return whole;
  }

  *differing(likely: Uint8Array): Generator<readonly [sector: number, shown: Stamp]> {
    for (const [sector, bytes] of this.#differing(likely)) yield [sector, readStamp(bytes, 0)];
  }

  #differing(expected: Uint8Array): Iterable<readonly [sector: number, bytes: Uint8Array]> {
    return this.#plane.differing(this.#state, this.#origins.runs, expected);
  }
}
