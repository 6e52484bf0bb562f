/**
 * Rounds: every kind goes through a scenario once per round, interleaved, so that slow drifts of the machine meet everybody alike.
 *
 * Who fails loses its results, and the program's exit status is 1; the others are measured nevertheless.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { medianFigures } from './chain-report.ts';
import type { Figures } from './chain-session.ts';

export interface Scenario<K> {
  readonly name: string;
  readonly takes: (kind: K) => boolean;
  readonly run: (kind: K) => Promise<Figures>;
}

/** @returns by kind, the medians of all rounds */
export async function mediansOf<K extends { readonly name: string }>(
  scenario: Scenario<K>,
  kinds: readonly K[],
  rounds: number,
): Promise<Map<string, Figures>> {
  const results = new Map<string, Figures[]>();
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds.filter(scenario.takes)) {
      const figures = await scenario.run(kind).catch(sayFailure(scenario.name, kind.name));
      if (figures === undefined) continue;
      results.set(kind.name, [...(results.get(kind.name) ?? []), figures]);
    }
  }
  return new Map([...results].map(([kind, all]) => [kind, medianFigures(all)]));
}

/** For keeping and comparing over time. */
export function plain(medians: ReadonlyMap<string, Figures>): Record<string, unknown> {
  return Object.fromEntries(
    [...medians].map(([kind, figures]) => [kind, Object.fromEntries(figures)]),
  );
}

/** An empty folder that goes with the program, however that ends. */
export function scratchFolder(): string {
  // Leaving through exit() ends the servers, too (daemon.ts); a bare signal would orphan them.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => process.exit(130));
  const folder = mkdtempSync(join(tmpdir(), 'varve-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function sayFailure(scenario: string, kind: string): (error: Error) => undefined {
  return (error) => {
    process.exitCode = 1;
    process.stderr.write(`${scenario}: ${kind}: failed: ${error.message}\n`);
    return undefined;
  };
}
