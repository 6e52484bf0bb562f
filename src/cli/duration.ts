/**
 * Durations and points in time as people write them. Pure.
 */
import { usageError } from './errors.ts';

const unitMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Longer than anybody waits or looks back; dates are exact far beyond. */
const durationMsMax = 100 * 366 * 86_400_000;

/** `500ms`, `30s`, `5m`, `2h`, `1d`; a bare number is seconds. @returns milliseconds */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  if (match === null)
    throw usageError(`"${text}" is no duration`, ['write it as 30s, 5m, 2h or 1d']);
  const ms = Number(match[1]) * (unitMs[match[2] ?? 's'] ?? 1000);
  if (ms <= durationMsMax) return ms;
  throw usageError(`"${text}" is too long a time`, ['a hundred years are the most']);
}

/** `2h` is two hours before now; otherwise a date. @returns RFC 3339 */
export function parseSince(text: string, nowMs: number): string {
  if (/^[\d.]+[a-z]+$/.test(text)) return new Date(nowMs - parseDuration(text)).toISOString();
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return new Date(time).toISOString();
  throw usageError(`"${text}" is no point in time`, [
    'write it as 2h (ago) or 2026-01-31T08:00:00Z',
  ]);
}

/** How long writes were held: `3.1 ms`, and in seconds from one on. */
export function formatPause(seconds: number): string {
  return seconds < 1 ? `${(1000 * seconds).toFixed(1)} ms` : `${seconds.toFixed(1)} s`;
}

/** For people, who ask whether their guest noticed. */
export function heldText(pauseSeconds: number): string {
  return pauseSeconds === 0
    ? 'no write had to wait'
    : `writes were held for ${formatPause(pauseSeconds)}`;
}

/** Two units at most: `1d 4h`, `3m 20s`, `12s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms / 1000);
  const parts: string[] = [];
  for (const unit of ['d', 'h', 'm', 's']) {
    const seconds = (unitMs[unit] ?? 1000) / 1000;
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.slice(0, 2).join(' ') || '0s';
}
