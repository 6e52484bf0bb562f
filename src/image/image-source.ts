/**
 * An image that is to be loaded: what it is, how large, and that it is whole, before anything is made for it.
 *
 * An image may name other files of this host that its content comes from (backing files, extents, a data file). Whoever made it chose them, so
 * none is followed unless asked for.
 */
import { stat } from 'node:fs/promises';
import { StorageError } from '../base/errors.ts';
import { probeDisk } from '../pool/probe.ts';
import { type ImageFormat, imageFormats } from './formats.ts';
import { qemuImg } from './qemu-img.ts';

export interface ImageSource {
  /** An absolute path, or a URL that qemu-img reads. */
  readonly source: string;
  /** Undefined: as its beginning says. */
  readonly format?: ImageFormat;
  /** What the image names may be read too. */
  readonly followsReferences?: boolean;
}

export interface FoundImage {
  readonly format: ImageFormat;
  readonly sizeBytes: number;
  /** That it takes where it lies; null when that cannot be told. */
  readonly storedBytes: number | null;
}

/** Of what `qemu-img info --output=json` says. */
interface ImageInfo {
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'actual-size'?: number;
  readonly encrypted?: boolean;
  readonly filename: string;
  readonly 'backing-filename'?: string;
  readonly 'format-specific'?: {
    readonly data?: {
      readonly 'data-file'?: string;
      readonly extents?: readonly { readonly filename: string }[];
    };
  };
}

/** Those that reach a server; a pseudo protocol (`json:`, `fat:`) would say more than where an image is. */
const urlPattern = /^(https?|ftps?|ssh|nbd|nbd\+unix|iscsi|nfs):\/\//;
/** qemu-img's exit statuses of `check`. */
const leaksOnly = 3;
const cannotCheck = 63;

/** @throws StorageError request/invalid; image/unusable, image/tool */
export async function findImage(asked: ImageSource): Promise<FoundImage> {
  const { source } = asked;
  await expectSource(source);
  const info = await infoOf(asked);
  if (info.encrypted) throw unusable(source, 'it is encrypted', 'decrypt it with qemu-img convert');
  const format = imageFormats.find((known) => known === info.format);
  if (format === undefined) throw unusable(source, `format ${info.format} is not read`);
  if (!asked.followsReferences) expectNoReferences(source, info);
  await expectWhole(source, format);
  const storedBytes = info['actual-size'] ?? null;
  return { format, sizeBytes: info['virtual-size'], storedBytes };
}

async function expectSource(source: string): Promise<void> {
  if (urlPattern.test(source)) return;
  if (!source.startsWith('/')) {
    throw new StorageError('request/invalid', `"${source}" is no absolute path and no URL`, {
      actions: ['an absolute path, or http, https, ftp, ssh, nbd, iscsi, nfs'],
    });
  }
  const { kind, label } = await probeDisk(source);
  if (kind === 'missing') throw unusable(source, 'there is no such file');
  if (kind !== 'file' && kind !== 'block') throw unusable(source, `it is a ${kind}`);
  if (label === null) return;
  const pool = label.poolName;
  throw unusable(source, `it is a disk of pool ${pool}`, 'varve pool import DISK-URI...');
}

async function infoOf({ source, format }: ImageSource): Promise<ImageInfo> {
  const asFormat = format === undefined ? [] : ['-f', format];
  const { status, output, complaint } = await qemuImg([
    'info',
    '--output=json',
    ...asFormat,
    source,
  ]);
  if (status === 0) return JSON.parse(output) as ImageInfo;
  const missing = /Unknown (protocol|driver)/.test(complaint);
  throw unusable(source, complaint, missing ? 'apt install qemu-block-extra' : undefined);
}

function expectNoReferences(source: string, info: ImageInfo): void {
  const { 'data-file': dataFile, extents = [] } = info['format-specific']?.data ?? {};
  const named = [info['backing-filename'], dataFile, ...extents.map(({ filename }) => filename)];
  const [other] = named.filter((name) => name !== undefined && name !== info.filename);
  if (other === undefined) return;
  throw unusable(
    source,
    `it reads from another file, ${other}`,
    'repeat with --follow if you trust whoever made the image',
  );
}

/** A truncated image reads as zeroes where something is missing: nobody would notice. */
async function expectWhole(source: string, format: ImageFormat): Promise<void> {
  if (format === 'raw') return;
  const { status, complaint } = await qemuImg(['check', '-f', format, source]);
  if (status !== 0 && status !== leaksOnly && status !== cannotCheck) {
    throw unusable(source, `it is damaged: ${complaint}`);
  }
  // Its own check does not look at the file's end.
  if (format === 'vdi' && source.startsWith('/')) await expectMapInside(source, format);
}

async function expectMapInside(source: string, format: ImageFormat): Promise<void> {
  const { output } = await qemuImg(['map', '--output=json', '-f', format, source]);
  const extents = JSON.parse(output) as { offset?: number; length: number }[];
  const end = extents.reduce(
    (most, { offset = 0, length }) => (offset === 0 ? most : Math.max(most, offset + length)),
    0,
  );
  const { size } = await stat(source);
  // The last of its blocks need not be written to the end.
  if (end <= size) return;
  throw unusable(source, `it is damaged: its data ends at byte ${end}, the file at ${size}`);
}

function unusable(source: string, why: string, action?: string): StorageError {
  const actions = action === undefined ? {} : { actions: [action] };
  return new StorageError('image/unusable', `image ${source}: ${why}`, actions);
}
