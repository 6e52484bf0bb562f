/**
 * DiskPaths: the ways to a disk that has several (portals of an iSCSI target); told once per change.
 *
 * A way that is lost is no fault of the disk as long as another one works: the disk stays online, and status warns. Elsewhere: which
 * way is taken (native/io/iscsi_link.h), a disk without any (disk-conditions.ts).
 */
import type { DiskPath } from '../dataplane/binding.ts';
import type { PoolDisk } from './disk-set.ts';
import type { DiskPathInfo, EmitEvent, PoolWarning } from './types.ts';

type Watched = Pick<PoolDisk, 'location' | 'plane'>;

export interface DiskPathsParts {
  /** Whom the events are about: the pool, or the export that serves the disk. */
  readonly subject: string;
  readonly emit: EmitEvent;
}

export class DiskPaths {
  readonly #parts: DiskPathsParts;

  constructor(parts: DiskPathsParts) {
    this.#parts = parts;
  }

  /** From now on changes are told; at once what is lost already. */
  watch({ location, plane }: Watched): void {
    let before: readonly DiskPath[] = [];
    const tell = (paths: readonly DiskPath[]) => {
      if (paths.length > 1) this.#tell(location.uri, before, paths);
      before = paths;
    };
    tell(plane.paths);
    plane.onPaths(tell);
  }

  #tell(uri: string, before: readonly DiskPath[], paths: readonly DiskPath[]): void {
    paths.forEach((path, at) => {
      const event = changeOf(before[at], path);
      if (event === undefined) return;
      const message = `disk ${uri}: ${event.text}`;
      this.#parts.emit({
        kind: event.kind,
        level: event.level,
        subject: this.#parts.subject,
        message,
      });
    });
  }
}

/** What is to be told of a path; undefined when that is nothing. */
function changeOf(before: DiskPath | undefined, path: DiskPath) {
  const { portal, state } = path;
  if (isLost(path)) {
    if (before?.state === state) return undefined;
    const text = `${portal} is no way to it any more (${path.message})`;
    return { kind: 'disk/path-lost', level: 'warning', text } as const;
  }
  if (before === undefined || before.state === state) return undefined;
  if (state === 'active') {
    return { kind: 'disk/path-used', level: 'info', text: `it is used by ${portal} now` } as const;
  }
  if (!isLost(before)) return undefined;
  return { kind: 'disk/path-back', level: 'info', text: `${portal} answers again` } as const;
}

/** Of a disk that is reached, and could not be if one more portal failed. */
export function pathWarnings({ location: { uri }, plane }: Watched): PoolWarning[] {
  const lost = plane.paths.filter(isLost);
  if (lost.length === 0 || lost.length === plane.paths.length) return [];
  const ways = lost.map((path) => `${path.portal} (${path.message})`).join(', ');
  return [
    {
      level: 'warning',
      code: 'disk/path-lost',
      message: `disk ${uri} is not reached by ${ways}`,
      actions: ['bring the portal back: it is looked at every few seconds'],
    },
  ];
}

export function describePaths(paths: readonly DiskPath[]): DiskPathInfo[] {
  return paths.map((path) => ({
    portal: path.portal,
    state: path.state,
    reason: isLost(path) ? path.message : null,
  }));
}

function isLost({ state }: DiskPath): boolean {
  return state === 'failed' || state === 'refused';
}
