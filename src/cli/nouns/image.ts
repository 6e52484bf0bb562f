/**
 * varve image …: images of other programs, into volumes and out of them.
 */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { OperationDocument, PlanDocument, VolumeDocument } from '../../api/schemas.ts';
import { parseSize } from '../../base/size.ts';
import { path } from '../client.ts';
import { confirmLoss } from '../confirm.ts';
import type { Context } from '../context.ts';
import { writeChange } from '../output.ts';
import { snapshotTarget } from '../targets.ts';
import { does } from '../verb.ts';
import { operationView, volumeView } from '../views.ts';
import { writeOperation } from '../wait.ts';

const savedFormats = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'];
const loadedFormats = [...savedFormats, 'vpc'];

export function addImageNoun(program: Command): void {
  const image = program
    .command('image')
    .description('disk images: raw, qcow2, vmdk, vhdx, vdi; loaded into volumes, saved from them');

  image
    .command('load <file> <name>')
    .description('make a volume of an image file, a disk or a URL, and compare')
    .addOption(
      new Option(
        '--format <format>',
        'of the image; as its beginning says unless given, which its maker decides',
      ).choices(loadedFormats),
    )
    .option('--size <size>', "of the volume; the image's unless given")
    .option('--pool <pool>', 'where; the only pool when there is one')
    .option('--class <class>', 'of the disks that its data is to lie on')
    .option('--follow', 'read other files that the image names, backing files say')
    .option('--serve', 'the volume is there at once, and reads from the image what has not arrived')
    .action(does(load));
  image
    .command('save <volume[@snapshot]> <file>')
    .description('write a volume to an image file, as it is now or was at a snapshot, and compare')
    .addOption(
      new Option('--format <format>', 'of the image').choices(savedFormats).makeOptionMandatory(),
    )
    .option('--force', 'replace a file that is there')
    .action(does(save));
}

interface LoadOptions {
  readonly format?: string;
  readonly size?: string;
  readonly pool?: string;
  readonly class?: string;
  readonly follow?: boolean;
  readonly serve?: boolean;
}

async function load(
  context: Context,
  [file, name]: [string, string],
  { size, ...rest }: LoadOptions,
): Promise<void> {
  const source = /^[a-z+]+:\/\//.test(file) ? file : resolve(file);
  const body = { ...rest, source, size_bytes: size === undefined ? undefined : parseSize(size) };
  const address = path`/v1/volumes/${name}`;
  await transfer(context, `${address}/actions/load`, body, async () => {
    const volume = await context.client.get<VolumeDocument>(address);
    writeChange(context, { ...volume, changed: true }, volumeView, ({ size_bytes: bytes }) => {
      const told = `volume ${name} is there: ${context.size(bytes)}, equal to ${file}`;
      return `${told}\n  next:  varve export add ${name}`;
    });
  });
}

async function save(
  context: Context,
  [source, file]: [string, string],
  { format, force }: { format: string; force?: boolean },
): Promise<void> {
  const { volume, snapshot } = source.includes('@')
    ? snapshotTarget(source)
    : { volume: source, snapshot: undefined };
  const absolute = resolve(file);
  if (force) await confirmLoss(context, `replaces ${absolute}`);
  const address = path`/v1/volumes/${volume}/actions/save`;
  const body = { file: absolute, format, snapshot, force };
  await transfer(context, address, body, async ({ id }) => {
    const ended = await context.client.get<OperationDocument>(path`/v1/operations/${id}`);
    const sentence = `${source} is saved as ${file} (${format}), and compared`;
    writeChange(context, ended, operationView, () => sentence);
  });
}

async function transfer(
  context: Context,
  address: string,
  body: object,
  then: (operation: OperationDocument) => Promise<void>,
): Promise<void> {
  const call = { method: 'POST', query: context.dryRun, body } as const;
  const { document } = await context.client.call<OperationDocument | PlanDocument>(address, call);
  if (document.kind === 'Plan') return writeChange(context, document, operationView, () => '');
  await writeOperation(context, document, then);
}
