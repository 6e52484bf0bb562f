/**
 * DiskConditions: which disks of a pool do not answer, since when, why, and what to do; told once per change.
 *
 *   online → suspended (what fails waits) → online | failed (what fails is told to the guests)      native/io/patient_disk.h
 *
 * Elsewhere: what the pool does without a disk (grants.ts avoids it, the label and checkpoint writers leave a failed one out).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { StorageError } from '../base/errors.ts';
import type { DiskCondition } from '../dataplane/binding.ts';
import type { PoolDisk } from './disk-set.ts';
import type { DiskInfo, EmitEvent, PoolWarning } from './types.ts';

const ENOSPC = 28;
const EROFS = 30;
const EACCES = 13;
const EPERM = 1;
const EIO = 5;

/** Of a pool that was not told otherwise, and of disks in none: a server restarts in that time. */
export const patienceSecondsDefault = 60;

/** A service manager kills what does not stop within 90 s; a server that restarts needs a moment. */
const closingPatienceMs = 5_000;

/** Whoever asks for something is told within a few seconds that a disk does not answer. */
const askingPatienceMs = 5_000;
const askingLookMs = 50;

export interface DiskConditionsParts {
  /** Whom the events are about: the pool, or the export that serves the disk. */
  readonly subject: string;
  readonly emit: EmitEvent;
  readonly patienceSeconds: () => number;
  /** A disk stopped answering, or answers again. */
  readonly onChange: () => void;
}

type Watched = Pick<PoolDisk, 'location' | 'plane'>;

export class DiskConditions {
  readonly #parts: DiskConditionsParts;

  constructor(parts: DiskConditionsParts) {
    this.#parts = parts;
  }

  /** From now on the disk has the pool's patience. */
  watch(disk: Watched): void {
    disk.plane.onCondition((condition) => this.#tell(disk, condition));
    disk.plane.setPatience(1000 * this.#parts.patienceSeconds());
  }

  #tell({ location }: Watched, condition: DiskCondition): void {
    const { subject, emit, onChange, patienceSeconds } = this.#parts;
    const { state, message: why } = condition;
    const disk = `disk ${location.uri}`;
    if (state === 'online') {
      emit({ kind: 'disk/resumed', level: 'info', subject, message: `${disk} answers again` });
    } else if (state === 'suspended') {
      const message = `${disk} does not do what it is asked, requests wait for up to ${patienceSeconds()} s: ${why}`;
      emit({ kind: 'disk/suspended', level: 'warning', subject, message });
    } else {
      const message = `${disk} is given up until it answers, its requests fail: ${why}`;
      emit({ kind: 'disk/failed', level: 'error', subject, message });
    }
    onChange();
  }
}

/** @param condition undefined of a disk that is not open */
export function describeCondition(
  condition: DiskCondition | undefined,
): Pick<DiskInfo, 'state' | 'failing'> {
  if (condition === undefined || condition.state === 'online') {
    return { state: 'online', failing: null };
  }
  const { state, message: reason, failingMs, patienceLeftMs, held } = condition;
  const failing = {
    reason,
    seconds: seconds(failingMs),
    patienceLeftSeconds: Math.ceil(patienceLeftMs / 1000),
    held,
  };
  return { state, failing };
}

/** What an operator should know of a disk that is not online. */
export function conditionWarnings({ location, plane }: Watched): PoolWarning[] {
  const { state, error, message, failingMs, patienceLeftMs, held } = plane.condition;
  if (state === 'online') return [];
  const since = `disk ${location.uri} has failed for ${seconds(failingMs)} s (${message})`;
  const actions = actionsFor(location.uri, error);
  if (state === 'failed') {
    return [
      { level: 'critical', code: 'disk/failed', message: `${since}: its requests fail`, actions },
    ];
  }
  const waiting = `${held} requests wait, for ${seconds(patienceLeftMs)} s more`;
  return [{ level: 'warning', code: 'disk/suspended', message: `${since}: ${waiting}`, actions }];
}

/**
 * Waits a moment for disks that do not answer.
 *
 * @throws StorageError disk/io one does not: what the pool holds cannot be made whole on it now
 */
export async function expectAnswering(disks: readonly Watched[], doing: string): Promise<void> {
  const giveUpAt = performance.now() + askingPatienceMs;
  while (disks.some(isSuspended) && performance.now() < giveUpAt) await delay(askingLookMs);
  for (const { location, plane } of disks) {
    const { state, error, message } = plane.condition;
    if (state === 'online') continue;
    throw new StorageError('disk/io', `${doing}: disk ${location.uri} is ${state} (${message})`, {
      actions: actionsFor(location.uri, error),
    });
  }
}

function isSuspended({ plane }: Watched): boolean {
  return plane.condition.state === 'suspended';
}

/**
 * The disks are about to be closed: what waits for one that does not answer waits a few seconds more, then fails.
 *
 * @returns to be called when they are closed
 */
export function hurry(disks: readonly Pick<Watched, 'plane'>[]): () => void {
  const timer = setTimeout(() => {
    for (const { plane } of disks) plane.surrender();
  }, closingPatienceMs);
  return () => clearTimeout(timer);
}

function actionsFor(uri: string, errno: number): string[] {
  switch (errno) {
    case ENOSPC:
      return [`make room in the file system below ${uri}: what waits goes on by itself`];
    case EROFS:
    case EACCES:
    case EPERM:
      return [`make ${uri} writable again: what waits goes on by itself`];
    case EIO:
      return [`look at the host's log for ${uri}, then move its data away`];
    default:
      return [`bring ${uri} back (cable, network, server): what waits goes on by itself`];
  }
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
