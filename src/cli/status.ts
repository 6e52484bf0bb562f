/**
 * One screen: health, what to do, pools, disks, operations.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import type { StatusDocument } from '../api/schemas.ts';
import type { Context } from './context.ts';
import { formatDuration } from './duration.ts';
import { writeJson } from './output.ts';
import { type Column, table } from './table.ts';
import { diskView, operationView, poolView } from './views.ts';

const watchMs = 2000;
const clearScreen = '\x1b[H\x1b[2J';

export async function writeStatus(context: Context): Promise<void> {
  const status = await context.client.get<StatusDocument>('/v1/status');
  if (context.json) return writeJson(context, status);
  context.write(statusText(context, status, Date.now()));
}

/** Until Ctrl-C. */
export async function watchStatus(context: Context): Promise<never> {
  for (;;) {
    if (process.stdout.isTTY && !context.json) context.write(clearScreen);
    await writeStatus(context);
    await sleep(watchMs);
  }
}

/** Pure but for colours; exported for its test. */
export function statusText(context: Context, status: StatusDocument, nowMs: number): string {
  const uptime = formatDuration(nowMs - Date.parse(status.started_at));
  const counts = [
    `${status.volume_count} volume(s)`,
    `${status.export_count} export(s)`,
    `${status.client_count} client(s)`,
  ];
  const head = [
    `health  ${healthText(status.health)}`,
    `varve   ${status.version}, up ${uptime}, ${status.backend}, ${status.state_dir}`,
    `serves  ${counts.join(', ')}`,
  ];
  const options = { wide: context.options.output === 'wide', bare: !context.options.header };
  const section = <T>(columns: readonly Column<T>[], items: readonly T[]) =>
    items.length === 0 ? [] : ['', table(columns, items, options).trimEnd()];
  return `${[
    ...head,
    ...status.warnings.flatMap(warningText),
    ...section(poolView.columns(context), status.pools),
    ...section(diskView.columns(context), status.disks),
    ...section(operationView.columns(context), status.operations),
    ...(status.pools.length === 0 ? ['', 'no pool yet: varve pool create NAME DISK-URI...'] : []),
  ].join('\n')}\n`;
}

function healthText(health: StatusDocument['health']): string {
  const colour = { ok: 'green', warning: 'yellow', critical: 'red' } as const;
  return coloured(colour[health], health);
}

function warningText({ level, message, actions }: StatusDocument['warnings'][number]): string[] {
  const colour = level === 'critical' ? 'red' : 'yellow';
  return [
    '',
    `${coloured(colour, level)}: ${message}`,
    ...actions.map((action) => `  try:  ${action}`),
  ];
}

function coloured(colour: 'green' | 'yellow' | 'red', text: string): string {
  // Off unless a terminal reads it and NO_COLOR is not set.
  return styleText(colour, text, { stream: process.stdout });
}
