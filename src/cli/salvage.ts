/**
 * varve pool salvage …: reads the disks itself; no service is asked.
 */
import { resolve } from 'node:path';
import type { SalvageDocument, SalvageListDocument } from '../api/salvage-documents.ts';
import type { Context } from './context.ts';
import { diskUris } from './disk-secret.ts';
import { CommandError, exitDamage, usageError } from './errors.ts';
import { writeJson, writeList } from './output.ts';
import { table } from './table.ts';

type Damage = Pick<SalvageListDocument, 'findings' | 'lost_changes'>;

/** @throws CommandError exit 7: something is missing, and what was told on stdout says what */
export async function salvage(
  context: Context,
  [uris]: [string[]],
  { volume, to }: { volume?: string; to?: string },
): Promise<void> {
  const disks = await diskUris(uris, undefined);
  if (volume === undefined) {
    if (to !== undefined) throw usageError('which volume?', ['add --volume VOLUME[@SNAPSHOT]']);
    return list(context, disks);
  }
  const file = fileFor(context, to);
  const { salvageTo } = await import('../api/offline.ts');
  const document = await salvageTo(disks, volume, file);
  tell(context, document);
  if (context.json) writeJson(context, document);
  else context.write(missingText(context, document));
  const { copied_bytes: copied, missing_bytes: missing } = document;
  const where = file === null ? '' : ` in ${file}`;
  context.say(
    `${volume}: ${context.size(copied)} of data${where}, ${context.size(missing)} missing`,
  );
  if (missing === 0 && document.lost_changes.length === 0) return;
  throw damaged(`${volume} could not be had as a whole`, 'what is missing reads as zero');
}

async function list(context: Context, disks: string[]): Promise<void> {
  const { salvageListOf } = await import('../api/offline.ts');
  const document = await salvageListOf(disks);
  tell(context, document);
  writeList(context, document, {
    columns: () => [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'SIZE', value: (item) => context.size(item.size_bytes), right: true },
    ],
    name: ({ name }) => name,
  });
  const isDamaged = document.findings.some(({ severity }) => severity === 'damage');
  if (!isDamaged && document.lost_changes.length === 0) return;
  throw damaged(
    `pool ${document.pool} is damaged, or not all of it is there`,
    'varve pool salvage DISK-URI... --volume NAME --to FILE copies what there is, and says what is missing',
  );
}

function fileFor(context: Context, to: string | undefined): string | null {
  if (context.options.dryRun) return null;
  if (to !== undefined) return resolve(to);
  throw usageError('where to?', ['add --to FILE; -n only reads, and says what would be missing']);
}

function damaged(message: string, action: string): CommandError {
  return new CommandError('pool/damaged', message, exitDamage, [action]);
}

/** For people: what is wrong, whether or not it costs anything. */
function tell(context: Context, { findings, lost_changes: lost }: Damage): void {
  for (const { severity, where, message } of findings) {
    context.say(`${severity}: ${where}: ${message}`);
  }
  for (const { message } of lost) context.say(`lost: ${message}`);
}

function missingText(context: Context, { missing }: SalvageDocument): string {
  return table(
    [
      { title: 'OFFSET', value: (range) => String(range.offset_bytes), right: true },
      { title: 'LENGTH', value: (range) => String(range.length_bytes), right: true },
      { title: 'REASON', value: ({ reason }) => reason },
      { title: 'DETAIL', value: ({ detail }) => detail },
    ],
    missing,
    { wide: false, bare: !context.options.header },
  );
}
