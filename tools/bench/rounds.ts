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

/** What every round of every kind gave. */
export interface Outcomes {
  /** By kind, a round each. */
  readonly figures: ReadonlyMap<string, readonly Figures[]>;
  /** Who failed, when and how. */
  readonly failures: readonly string[];
}

/** Says failures as they come, too. */
export async function outcomesOf<K extends { readonly name: string }>(
  scenario: Scenario<K>,
  kinds: readonly K[],
  rounds: number,
): Promise<Outcomes> {
  const figures = new Map<string, Figures[]>();
  const failures: string[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds.filter(scenario.takes)) {
      try {
        const measured = await scenario.run(kind);
        figures.set(kind.name, [...(figures.get(kind.name) ?? []), measured]);
      } catch (error) {
        const failure = `${kind.name}, round ${round + 1}: ${(error as Error).message}`;
        failures.push(failure);
        process.stderr.write(`${scenario.name}: failed: ${failure}\n`);
      }
    }
  }
  return { figures, failures };
}

/** @returns by kind, the medians of all rounds that did not fail */
export async function mediansOf<K extends { readonly name: string }>(
  scenario: Scenario<K>,
  kinds: readonly K[],
  rounds: number,
): Promise<Map<string, Figures>> {
  const { figures, failures } = await outcomesOf(scenario, kinds, rounds);
  if (failures.length > 0) process.exitCode = 1;
  return new Map([...figures].map(([kind, all]) => [kind, medianFigures(all)]));
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
