/**
 * Volumes and exports are known by name over all pools of a host: a pool that brings a name which is in use stays closed.
 */
import { StorageError } from '../base/errors.ts';

/** Of a pool, open or about to be. */
export interface NamedRecords {
  readonly name: string;
  readonly records: readonly (readonly [name: string, value: unknown])[];
}

const volumePrefix = 'volume/';
const exportPrefix = 'export/';
const movePrefix = 'move/';
/** More say nothing new. */
const namesShownMax = 5;

/** @throws StorageError volume/exists naming what both have */
export function expectNoClash(newcomer: NamedRecords, others: readonly NamedRecords[]): void {
  for (const other of others) {
    const volumes = common(volumeNames(newcomer), volumeNames(other));
    const exports = common(exportNames(newcomer), exportNames(other));
    if (volumes.length + exports.length > 0) throw clash(newcomer, other, { volumes, exports });
  }
}

function volumeNames({ records }: NamedRecords): string[] {
  const away = volumesAway(records);
  return records
    .filter(([key]) => key.startsWith(volumePrefix))
    .map(([, value]) => value as { id: number; name: string; scratch?: true })
    .filter(({ id, scratch }) => scratch !== true && !away.has(id))
    .map(({ name }) => name);
}

function exportNames({ records }: NamedRecords): string[] {
  const away = volumesAway(records);
  return records
    .filter(([key]) => key.startsWith(exportPrefix))
    .filter(([, value]) => !away.has((value as { volumeId: number }).volumeId))
    .map(([key]) => key.slice(exportPrefix.length));
}

/** Of which the other pool of a move knows whose they are (src/volume/moves.ts): it may have them under the same names. */
function volumesAway(records: NamedRecords['records']): ReadonlySet<number> {
  const moves = records.filter(([key]) => key.startsWith(movePrefix));
  type Move = { switching?: { volumes: readonly number[] } };
  return new Set(moves.flatMap(([, value]) => (value as Move).switching?.volumes ?? []));
}

function common(some: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others);
  return some.filter((name) => known.has(name)).sort();
}

function clash(
  newcomer: NamedRecords,
  other: NamedRecords,
  {
    volumes,
    exports,
  }: { readonly volumes: readonly string[]; readonly exports: readonly string[] },
): StorageError {
  const shared = [...counted('volume', volumes), ...counted('export', exports)].join(', ');
  return new StorageError(
    'volume/exists',
    `pool ${newcomer.name} cannot be opened beside pool ${other.name}: both have ${shared}`,
    {
      actions: [
        ...exports.slice(0, namesShownMax).map((name) => `varve export remove ${name}`),
        ...volumes.slice(0, namesShownMax).map((name) => `varve volume rename ${name} NEW-NAME`),
        `then open pool ${newcomer.name} again`,
      ],
    },
  );
}

function counted(noun: string, names: readonly string[]): string[] {
  const shown = names.slice(0, namesShownMax).map((name) => `${noun} ${name}`);
  const hidden = names.length - shown.length;
  return hidden > 0 ? [...shown, `${hidden} more ${noun}s`] : shown;
}
