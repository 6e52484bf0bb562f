/**
 * Collects what a check finds. Of one code at most a hundred findings are kept: the first ones say what went wrong,
 * millions of them would only fill memory.
 */
import type { CheckFinding } from '../types.ts';

const findingsPerCode = 100;

export class FindingLog {
  readonly #findings: CheckFinding[] = [];
  readonly #counts = new Map<string, number>();

  damage(code: string, where: string, message: string): void {
    this.#add({ severity: 'damage', code, where, message });
  }

  warning(code: string, where: string, message: string): void {
    this.#add({ severity: 'warning', code, where, message });
  }

  /** What was found, and how much more of a code there was. */
  all(): CheckFinding[] {
    const more = [...this.#counts].filter(([, count]) => count > findingsPerCode);
    return [...this.#findings, ...more.map(([code, count]) => this.#summary(code, count))];
  }

  #add(finding: CheckFinding): void {
    const count = (this.#counts.get(finding.code) ?? 0) + 1;
    this.#counts.set(finding.code, count);
    if (count <= findingsPerCode) this.#findings.push(finding);
  }

  #summary(code: string, count: number): CheckFinding {
    const first = this.#findings.find((finding) => finding.code === code) as CheckFinding;
    const message = `${count - findingsPerCode} more of the same kind`;
    return { ...first, where: 'pool', message };
  }
}
