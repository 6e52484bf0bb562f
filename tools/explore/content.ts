/**
 * What is shown after a cut, compared with what the moment of the cut had promised: names, sizes, every sector, groups of snapshots.
 *
 * Elsewhere: who shows it: pools that were opened (afterlife.ts), salvage (salvaged.ts), recoveries of other states (shared-recovery.ts).
 */
import { imageViolations } from './durability-model.ts';
import {
  type Promised,
  presenceViolation,
  type SnapshotLife,
  type VolumeLife,
} from './promises.ts';
import type { Image } from './sectors.ts';

/** @returns the whole of it */
export type Read<I extends Image = Image> = () => Promise<I>;

/** By name, whatever is there of that name: once, if all is well. */
export type ReadsByName<I extends Image = Image> = ReadonlyMap<string, readonly Read<I>[]>;

export interface Shown<I extends Image = Image> {
  readonly volumes: ReadsByName<I>;
  /** By `nameOf`. */
  readonly snapshots: ReadsByName<I>;
}

/** VOLUME@SNAPSHOT. */
export function nameOf({ volume, name }: Pick<SnapshotLife, 'volume' | 'name'>): string {
  return `${volume}@${name}`;
}

/** Brings what is there into the order that judging asks for. */
export function byName<T>(there: Iterable<readonly [name: string, thing: T]>): Map<string, T[]> {
  const things = new Map<string, T[]>();
  for (const [name, thing] of there) {
    const known = things.get(name);
    if (known === undefined) things.set(name, [thing]);
    else known.push(thing);
  }
  return things;
}

/** @returns a sentence for each broken promise */
export async function judgeShown(
  { volumes, snapshots }: Shown,
  { lives, snapshotLives }: Promised,
  cut: number,
): Promise<string[]> {
  const found: string[] = [];
  for (const life of lives) found.push(...(await judgeVolume(volumes, life, cut)));
  for (const life of snapshotLives) found.push(...(await judgeSnapshot(snapshots, life, cut)));
  return [...found, ...judgeGroups(snapshots, snapshotLives, cut)];
}

async function judgeVolume(there: ReadsByName, life: VolumeLife, cut: number): Promise<string[]> {
  const [read, ...others] = there.get(life.name) ?? [];
  if (others.length > 0) return [`volume ${life.name} is there twice`];
  const wrong = presenceViolation(life, read !== undefined, cut);
  if (wrong !== undefined) return [`volume ${life.name} ${wrong}`];
  return read === undefined ? [] : life.model.violations(await read(), cut);
}

async function judgeSnapshot(
  there: ReadsByName,
  life: SnapshotLife,
  cut: number,
): Promise<string[]> {
  const where = `snapshot ${nameOf(life)}`;
  const [read, ...others] = there.get(nameOf(life)) ?? [];
  if (others.length > 0) return [`${where} is there twice`];
  const wrong = presenceViolation(life, read !== undefined, cut);
  if (wrong !== undefined) return [`${where} ${wrong}`];
  if (read === undefined) return [];
  return imageViolations(life.image, await read()).map((sentence) => `${where} ${sentence}`);
}

/** Of a group whose creation was cut off all are there or none. */
function judgeGroups(there: ReadsByName, lives: readonly SnapshotLife[], cut: number): string[] {
  const cutOff = lives.filter(({ createBegun, created }) => createBegun <= cut && cut < created);
  const groups = new Set(cutOff.flatMap(({ group }) => group ?? []));
  return [...groups].flatMap((group) => {
    const members = cutOff.filter((life) => life.group === group);
    const count = members.filter((life) => there.has(nameOf(life))).length;
    if (count === 0 || count === members.length) return [];
    return [`${count} of the ${members.length} snapshots of group ${group} are there`];
  });
}
