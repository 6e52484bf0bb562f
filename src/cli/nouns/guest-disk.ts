/**
 * varve attach, varve detach: a volume into a running guest and out of it.
 */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { GuestDiskDocument } from '../../api/schemas.ts';
import { path } from '../client.ts';
import type { Context } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { usageError } from '../errors.ts';
import { type View, writeChange } from '../output.ts';
import { does } from '../verb.ts';

export function addGuestDiskVerbs(program: Command): void {
  program
    .command('attach <volume>')
    .description('plug a volume into a running guest; it is exported if it was not')
    .option('--qmp <socket>', "QEMU's monitor: the socket of its -qmp")
    .option('--domain <name>', 'or a running domain of libvirt')
    .option('--connect <uri>', "with --domain: libvirt's URI; as virsh chooses unless given")
    .option('--persistent', "with --domain: in the domain's definition too")
    .addOption(
      new Option('--bus <bus>', 'with --qmp: how the guest sees it').choices([
        'virtio-blk',
        'virtio-scsi',
      ]),
    )
    .option('--shared', 'also when clients have the volume: they know of each other')
    .action(does(attach));
  program
    .command('detach <volume>')
    .description('take a volume out of a running guest; its export stays')
    .option('--qmp <socket>', "QEMU's monitor: the socket of its -qmp")
    .option('--domain <name>', 'or a running domain of libvirt')
    .option('--connect <uri>', "with --domain: libvirt's URI; as virsh chooses unless given")
    .option('--persistent', "with --domain: out of the domain's definition too")
    .option('--guest-timeout <duration>', 'how long the guest may take to let go (30s)')
    .action(does(detach));
}

interface GuestOptions {
  readonly qmp?: string;
  readonly domain?: string;
  readonly connect?: string;
  readonly persistent?: boolean;
}

/** @throws CommandError usage, when not exactly one guest is named */
function guestFields({ qmp, ...domain }: GuestOptions): object {
  if ((qmp === undefined) === (domain.domain === undefined)) {
    throw usageError('name the guest: --qmp SOCKET, or --domain NAME');
  }
  return qmp === undefined ? domain : { ...domain, qmp: resolve(qmp) };
}

async function attach(
  context: Context,
  [volume]: [string],
  { bus, shared, ...guest }: GuestOptions & { bus?: string; shared?: boolean },
): Promise<void> {
  const address = path`/v1/volumes/${volume}/actions/attach`;
  await change(context, address, { ...guestFields(guest), bus, shared }, attached);
}

function attached({ volume, node, device, reconnects, changed }: GuestDiskDocument): string {
  const who = node === null ? "libvirt's disk" : "QEMU's device";
  const told = changed
    ? `${volume} is in the guest, as ${who} ${device}`
    : `${volume} was in the guest already, as ${device}`;
  if (reconnects) return told;
  return `${told}\n  this libvirt is older than 9.2 and does not let QEMU reconnect: when the service restarts, the guest is paused; virsh resume lets it go on`;
}

async function detach(
  context: Context,
  [volume]: [string],
  { guestTimeout, ...guest }: GuestOptions & { guestTimeout?: string },
): Promise<void> {
  const address = path`/v1/volumes/${volume}/actions/detach`;
  const seconds = guestTimeout === undefined ? undefined : parseDuration(guestTimeout) / 1000;
  const body = { ...guestFields(guest), timeout_seconds: seconds };
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
    { title: 'NODE', value: ({ node }) => node ?? '-' },
    { title: 'DEVICE', value: ({ device }) => device },
  ],
};
