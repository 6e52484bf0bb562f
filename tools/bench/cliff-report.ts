/** What guests notice of what goes on beside them, as factors of p99. Pure. */
import { median } from './compare.ts';

/** A guest's p99 in µs. */
export interface Noticed {
  readonly before: number;
  readonly during: number;
  readonly after: number;
}

export interface SceneOutcome {
  readonly name: string;
  /** The factor that was promised; undefined where none was. */
  readonly limit: number | undefined;
  /** One per round. */
  readonly rounds: readonly Noticed[];
}

/** p99 during ÷ the mean of before and after: the median of the rounds. NaN without any. */
export function factorOf(rounds: readonly Noticed[]): number {
  return median(rounds.map(({ before, during, after }) => (2 * during) / (before + after)));
}

/** `reached` or `missed` where something was promised, else `within 2` or `above 2`. */
export function cliffVerdict({ rounds, limit }: SceneOutcome): string {
  const factor = factorOf(rounds);
  if (Number.isNaN(factor)) return 'not measured';
  if (limit === undefined) return factor <= 2 ? 'within 2' : 'above 2';
  return factor <= limit ? 'reached' : 'missed';
}

/** A line per scene, a header first. */
export function cliffRows(scenes: readonly SceneOutcome[]): string[][] {
  const header = ['p99 µs, medians', 'before', 'during', 'after', 'factor', 'goal', 'verdict'];
  const lines = scenes.map((scene) => {
    const of = (moment: keyof Noticed) =>
      median(scene.rounds.map((round) => round[moment])).toFixed(0);
    const goal = scene.limit === undefined ? '-' : `≤ ${scene.limit}`;
    const factor = factorOf(scene.rounds).toFixed(2);
    return [scene.name, of('before'), of('during'), of('after'), factor, goal, cliffVerdict(scene)];
  });
  return [header, ...lines];
}
