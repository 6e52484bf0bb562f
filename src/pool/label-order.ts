/**
 * Which of the labels of a pool is newer, and which ring of its replicas is to be believed.
 *
 * Pure. Labels are written one by one, so that a crash may leave any mixture: each field has its own order, within the highest epoch.
 */
import type { DiskNumbers, Label } from './format/label.ts';

/** Of two labels the one with the larger numbers, compared in order, is the newer. */
export type LabelOrder = (label: Label) => readonly number[];

/** Which label knows the members. */
export const membersOrder: LabelOrder = ({ epoch, membership, diskCount }) => [
  epoch,
  membership?.generation ?? 0,
  diskCount,
];
/** Which label knows where the journal begins. */
export const tailOrder: LabelOrder = ({ epoch, tailSequence }) => [epoch, tailSequence];
/** Which label knows whose rings were left behind. */
const lostOrder: LabelOrder = ({ epoch, lostRings }) => [epoch, lostRings?.generation ?? 0];

/** The newest by that order; of several the first. At least one is given. */
export function newestBy(order: LabelOrder, labels: readonly Label[]): Label {
  return labels.reduce((a, b) => (isHigher(order(b), order(a)) ? b : a));
}

/** The disks whose rings lack records, whatever their own labels say. */
export function lostRings(labels: readonly Label[]): DiskNumbers | null {
  return newestBy(lostOrder, labels).lostRings;
}

/** What a label says of the journal, as far as it is true: a ring that was left behind is none, and a checkpoint beside it is not kept up. */
export function believed(label: Label, lost: DiskNumbers | null): Label {
  if (!lost?.numbers.includes(label.diskNumber)) return label;
  return { ...label, ...withoutRing };
}

/** Of a disk without a replica. */
export const withoutRing = { journalOffset: 0, journalBytes: 0, checkpoint: null } as const;

/**
 * Tail and checkpoint as the pool's replicas know them. Other disks' labels may name a newer tail, whose checkpoint no replica's label names
 * yet: before it does, the old one is whole.
 *
 * @returns undefined when no disk carries a ring that is to be believed
 */
export function journalOf(
  labels: readonly Label[],
  lost: DiskNumbers | null,
):
  | Pick<Label, 'journalOffset' | 'journalBytes' | 'tailPosition' | 'tailSequence' | 'checkpoint'>
  | undefined {
  const replicas = labels
    .map((label) => believed(label, lost))
    .filter(({ journalBytes }) => journalBytes > 0);
  if (replicas.length === 0) return undefined;
  const newest = newestBy(tailOrder, replicas);
  const { journalOffset, journalBytes, tailPosition, tailSequence } = newest;
  // The newest may be of a disk that has fallen behind with its checkpoint.
  const found = replicas.find(({ checkpoint }) => checkpoint?.sequence === tailSequence - 1);
  const checkpoint = found?.checkpoint ?? null;
  return { journalOffset, journalBytes, tailPosition, tailSequence, checkpoint };
}

function isHigher(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, place) => value !== b[place]);
  return at >= 0 && (a[at] as number) > (b[at] as number);
}
