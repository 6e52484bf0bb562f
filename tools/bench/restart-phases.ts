/**
 * Where the time of a restart goes, from what the two processes say in their log. Pure.
 *
 *   began → parked → stopped → started → loaded → adopted → answered
 *   guest's   the old process's        the new process's      guest's
 */

/** Milliseconds of the epoch. */
export interface Moments {
  /** The old process had answered its clients and left them. */
  readonly parked?: number | undefined;
  /** Its pools were closed. */
  readonly stopped?: number | undefined;
  /** The new process began. */
  readonly started?: number | undefined;
  /** Its code was there. */
  readonly loaded?: number | undefined;
  /** Its pools were open and it went on with the clients, or listened for them. */
  readonly adopted?: number | undefined;
}

/** Milliseconds each; undefined: not told. */
export interface Phases {
  readonly park: number | undefined;
  readonly close: number | undefined;
  /** From the end of one process to the beginning of the next; undefined, as `load`, when that was there before. */
  readonly between: number | undefined;
  readonly load: number | undefined;
  readonly open: number | undefined;
  readonly answer: number | undefined;
}

interface Entry {
  readonly time: number;
  readonly msg: string;
  readonly event?: string;
  readonly started?: number;
}

/** The newest of each since then. @param log pino's lines */
export function momentsIn(log: string, sinceMs: number): Moments {
  const entries = log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Entry)
    .filter(({ time }) => time >= sinceMs);
  const last = (holds: (entry: Entry) => boolean) => entries.findLast(holds);
  const loaded = last(({ msg }) => msg === 'starting');
  return {
    parked: last(({ event }) => event === 'service/clients-left')?.time,
    stopped: last(({ msg }) => msg === 'stopped')?.time,
    started: loaded?.started,
    loaded: loaded?.time,
    adopted: last(({ msg }) => msg === 'serving')?.time,
  };
}

export function phasesOf(
  of: Moments & { readonly began: number; readonly answered: number },
): Phases {
  const { started, loaded, stopped } = of;
  const wasThere = started !== undefined && stopped !== undefined && started < stopped;
  return {
    park: between(of.began, of.parked),
    close: between(of.parked, stopped),
    between: wasThere ? undefined : between(stopped, started),
    load: wasThere ? undefined : between(started, loaded),
    open: between(wasThere ? stopped : loaded, of.adopted),
    answer: between(of.adopted, of.answered),
  };
}

function between(from: number | undefined, to: number | undefined): number | undefined {
  return from === undefined || to === undefined ? undefined : to - from;
}
