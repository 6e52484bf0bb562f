/**
 * Scrubs of pools and disks: what was found is written whatever the end, then the end decides the exit status.
 */
import type { OperationDocument, PlanDocument, ScrubFindingItem } from '../api/schemas.ts';
import { parseRate } from '../base/size.ts';
import type { Context } from './context.ts';
import { problemError } from './errors.ts';
import { writeChange, writeJson } from './output.ts';
import { type Column, table } from './table.ts';
import { operationView } from './views.ts';
import { waitForEnd, writeOperation } from './wait.ts';

/** @throws CommandError data/damaged (7) with something found; its error when it failed; as `waitForEnd` */
export async function scrub(
  context: Context,
  address: string,
  { rate }: { readonly rate?: string },
): Promise<void> {
  const body = { rate_bytes_per_second: rate && parseRate(rate) };
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const { document } = await context.client.call<OperationDocument | PlanDocument>(
    `${address}/actions/scrub`,
    call,
  );
  if (document.kind === 'Plan') return writeChange(context, document, operationView, () => '');
  if (!context.options.wait) return writeOperation(context, document, async () => {});
  const ended = await waitForEnd(context, document.id);
  writeFindings(context, ended);
  if (ended.error !== null) throw problemError(ended.error);
}

function writeFindings(context: Context, operation: OperationDocument): void {
  const { findings = [], target } = operation;
  if (context.json) writeJson(context, operation);
  else {
    const options = { wide: context.options.output === 'wide', bare: !context.options.header };
    context.write(table(columns(context), findings, options));
  }
  context.say(`${target}: ${findings.length} finding(s)`);
}

function columns(context: Context): readonly Column<ScrubFindingItem>[] {
  return [
    { title: 'SEVERITY', value: ({ severity }) => severity },
    { title: 'CODE', value: ({ code }) => code },
    { title: 'VOLUME', value: nameOf },
    { title: 'OFFSET', right: true, value: (finding) => String(finding.offset_bytes ?? '-') },
    { title: 'LENGTH', right: true, value: (finding) => sizeOf(context, finding.length_bytes) },
    { title: 'WHERE', value: ({ where }) => where },
    { title: 'MESSAGE', value: ({ message }) => message },
  ];
}

function nameOf({ volume, snapshot }: ScrubFindingItem): string {
  if (volume === null) return '-';
  return snapshot === null ? volume : `${volume}@${snapshot}`;
}

function sizeOf(context: Context, bytes: number | null): string {
  return bytes === null ? '-' : context.size(bytes);
}
