/**
 * varve attach, varve detach: a volume into a running guest and out of it.
 */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { GuestDiskDocument } from '../../api/schemas.ts';
import { path } from '../client.ts';
import type { Context } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { type View, writeChange } from '../output.ts';
import { does } from '../verb.ts';

export function addGuestDiskVerbs(program: Command): void {
  program
    .command('attach <volume>')
    .description('plug a volume into a running QEMU guest; it is exported if it was not')
    .requiredOption('--qmp <socket>', "QEMU's monitor: the socket of its -qmp")
    .addOption(
      new Option('--bus <bus>', 'how the guest sees it').choices(['virtio-blk', 'virtio-scsi']),
    )
    .action(does(attach));
  program
    .command('detach <volume>')
    .description('take a volume out of a running QEMU guest; its export stays')
    .requiredOption('--qmp <socket>', "QEMU's monitor: the socket of its -qmp")
    .option('--guest-timeout <duration>', 'how long the guest may take to let go (30s)')
    .action(does(detach));
}

async function attach(
  context: Context,
  [volume]: [string],
  { qmp, bus }: { qmp: string; bus?: string },
): Promise<void> {
  const address = path`/v1/volumes/${volume}/actions/attach`;
  await change(context, address, { qmp: resolve(qmp), bus }, ({ device, changed }) =>
    changed
      ? `${volume} is in the guest, as QEMU's device ${device}`
      : `${volume} was in the guest already, as ${device}`,
  );
}

async function detach(
  context: Context,
  [volume]: [string],
  { qmp, guestTimeout }: { qmp: string; guestTimeout?: string },
): Promise<void> {
  const address = path`/v1/volumes/${volume}/actions/detach`;
  const seconds = guestTimeout === undefined ? undefined : parseDuration(guestTimeout) / 1000;
  const body = { qmp: resolve(qmp), timeout_seconds: seconds };
  await change(context, address, body, ({ changed, export: name }) =>
    changed
      ? `${volume} is out of the guest; export ${name} stays`
      : `${volume} was not in the guest`,
  );
}

async function change(
  context: Context,
  address: string,
  body: object,
  sentence: (document: GuestDiskDocument) => string,
): Promise<void> {
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const { document } = await context.client.call<GuestDiskDocument>(address, call);
  writeChange(context, document, guestDiskView, sentence);
}

const guestDiskView: View<GuestDiskDocument> = {
  name: ({ volume }) => volume,
  columns: () => [
    { title: 'VOLUME', value: ({ volume }) => volume },
    { title: 'EXPORT', value: ({ export: name }) => name },
    { title: 'NODE', value: ({ node }) => node },
    { title: 'DEVICE', value: ({ device }) => device },
  ],
};
