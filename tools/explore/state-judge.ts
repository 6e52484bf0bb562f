/**
 * Judges states of one life: through the recovery that a state shares with others that are like it, by itself, or both ways.
 *
 * Opened by itself, a state must show what it shows through the shared recovery, to the byte. Whatever breaks a promise through the shared one is
 * opened by itself as well, so that both are told.
 */
import { judgeBy, type Look, type Remains, type Verdict } from './afterlife.ts';
import { judgeShown, type ReadsByName, type Shown } from './content.ts';
import type { Promised } from './promises.ts';
import type { CutState, RecordingPlane } from './recording-plane.ts';
import { type Recovery, SharedRecoveries, shownThrough } from './shared-recovery.ts';

export interface JudgedState extends Verdict {
  /** A recovery was made, for others to share. */
  readonly isFirst: boolean;
  /** It was opened by itself. */
  readonly alone: boolean;
}

export interface StateToJudge extends Pick<Remains, 'memory' | 'salvage'> {
  readonly state: CutState;
  readonly moment: number;
  /** It is to be opened by itself in any case. */
  readonly alone: boolean;
}

export class StateJudge {
  readonly #plane: RecordingPlane;
  readonly #promised: Promised;
  readonly #folder: string;
  readonly #shared: SharedRecoveries | undefined;

  /** @param how.folder for what hosts keep @param how.sharing false: every state is opened by itself */
  constructor(
    plane: RecordingPlane,
    promised: Promised,
    how: { readonly folder: string; readonly sharing: boolean },
  ) {
    this.#plane = plane;
    this.#promised = promised;
    this.#folder = how.folder;
    this.#shared = how.sharing ? new SharedRecoveries(plane, how.folder) : undefined;
  }

  async judge(given: StateToJudge): Promise<JudgedState> {
    const { state, moment, alone } = given;
    const found = this.#shared?.find(state, given);
    const recovery = found === undefined ? await this.#shared?.make(state, given) : found.recovery;
    const isFirst = found === undefined && recovery !== undefined;
    if (recovery === undefined) {
      return { ...(await this.#alone(given, this.#look(moment))), isFirst, alone: true };
    }
    const sentences = await this.#through(recovery, state, moment);
    if (sentences.length === 0 && !alone) return { ...recovery, isFirst, alone: false };
    const look = await this.#comparing(recovery, given);
    const verdict = await this.#alone(given, look);
    const shared = sentences.map((sentence) => `through a shared recovery: ${sentence}`);
    return { ...verdict, sentences: [...shared, ...verdict.sentences], isFirst, alone: true };
  }

  async #through(recovery: Recovery, state: CutState, moment: number): Promise<string[]> {
    const found = [...recovery.sentences];
    for (const glimpse of recovery.glimpses) {
      const shown = shownThrough(glimpse, state, this.#plane);
      const wrong = await judgeShown(shown, this.#promised, moment);
      found.push(...wrong.map((sentence) => `${glimpse.when}: ${sentence}`));
    }
    return found;
  }

  /** Opens the state itself, which is changed by that. */
  #alone({ state, memory, salvage }: StateToJudge, look: Look): Promise<Verdict> {
    return judgeBy(look, this.#plane, { disks: state.disks, memory, salvage }, this.#folder);
  }

  #look(moment: number): Look {
    return (shown) => judgeShown(shown, this.#promised, moment);
  }

  /** Judges, and compares with what the recovery makes of the state as it is now. */
  async #comparing(recovery: Recovery, { state, moment }: StateToJudge): Promise<Look> {
    const glimpses = await Promise.all(
      recovery.glimpses.map((glimpse) => bytesOf(shownThrough(glimpse, state, this.#plane))),
    );
    const look = this.#look(moment);
    return async (shown, when) => {
      const found = [...(await look(shown, when))];
      const seen = await bytesOf(shown);
      for (const glimpse of glimpses) found.push(...differences(seen, glimpse));
      return found;
    };
  }
}

type BytesByName = ReadonlyMap<string, readonly Uint8Array[]>;

/** Of volumes and snapshots: their names are never the same. */
async function bytesOf({ volumes, snapshots }: Shown): Promise<BytesByName> {
  return new Map([...(await allBytes(volumes)), ...(await allBytes(snapshots))]);
}

async function allBytes(reads: ReadsByName): Promise<BytesByName> {
  const bytes = new Map<string, Uint8Array[]>();
  for (const [name, all] of reads) {
    const images: Uint8Array[] = [];
    for (const read of all) images.push((await read()).wholeBytes());
    bytes.set(name, images);
  }
  return bytes;
}

function differences(seen: BytesByName, expected: BytesByName): string[] {
  const names = new Set([...seen.keys(), ...expected.keys()]);
  return [...names].flatMap((name) => {
    const [ours, theirs] = [seen.get(name) ?? [], expected.get(name) ?? []];
    const isSame =
      ours.length === theirs.length && ours.every((image, at) => isEqual(image, theirs[at]));
    return isSame ? [] : [`${name} shows something else than through a shared recovery`];
  });
}

function isEqual(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0;
}
