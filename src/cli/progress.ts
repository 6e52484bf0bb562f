/**
 * One progress line on stderr with rate and time left; JSON lines for programs; nothing where nobody looks.
 */
import type { OperationItem } from '../api/schemas.ts';
import type { Context } from './context.ts';
import { formatDuration } from './duration.ts';

export interface ProgressLine {
  update(operation: OperationItem): void;
  end(): void;
}

export function progressLine(context: Context): ProgressLine {
  const { progress, quiet } = context.options;
  if (progress === 'json') return jsonLines();
  if (progress === 'none' || quiet || !process.stderr.isTTY) return { update() {}, end() {} };
  return terminalLine(context);
}

function jsonLines(): ProgressLine {
  return {
    update({ id, state, phase, progress }) {
      process.stderr.write(`${JSON.stringify({ id, state, phase, ...progress })}\n`);
    },
    end() {},
  };
}

function terminalLine(context: Context): ProgressLine {
  const startedMs = Date.now();
  return {
    update(operation) {
      const text = progressText(context, operation, Date.now() - startedMs);
      process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    },
    end() {
      process.stderr.write('\r\x1b[K');
    },
  };
}

/** Pure; exported for its test. */
export function progressText(
  context: Context,
  operation: OperationItem,
  elapsedMs: number,
): string {
  const { done_bytes: done, total_bytes: total, held_back_by: by } = operation.progress;
  const head = `${operation.id} ${operation.phase} ${operation.target}`;
  if (total === 0 || done === 0 || elapsedMs === 0) return head;
  const bytesPerSecond = (done / elapsedMs) * 1000;
  const leftMs = ((total - done) / bytesPerSecond) * 1000;
  const percent = Math.floor((100 * done) / total);
  const rate = `${context.size(Math.round(bytesPerSecond))}/s`;
  const heldBack = by == null ? '' : `, held back by ${by}`;
  return `${head}  ${percent}%  ${rate}${heldBack}  ${formatDuration(leftMs)} left`;
}
