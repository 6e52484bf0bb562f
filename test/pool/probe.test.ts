// Goal: whatever lives on a disk is recognized and named, and no odd path does harm.
// Method: what the formats' own tools write where they are installed; planted magics for the rest; odd files.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeLabel } from '../../src/pool/format/label.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { findSignature, signatures } from '../../src/pool/signatures.ts';
import { flipBit, sampleLabel } from './format/samples.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-probe-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const path = (name: string) => join(folder, name);

function blankFile(name: string, sizeBytes: number): string {
  writeFileSync(path(name), '');
  truncateSync(path(name), sizeBytes);
  return path(name);
}

function hasTool(tool: string): boolean {
  try {
    execFileSync('which', [tool], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('content made by its own tools', () => {
  test.each<[string, string, readonly string[]]>([
    ['an ext2, ext3 or ext4 filesystem', 'mkfs.ext4', ['-q', '-F']],
    ['an XFS filesystem', 'mkfs.xfs', ['-q', '-f']],
    ['a btrfs filesystem', 'mkfs.btrfs', ['-q', '-f']],
    ['swap space', 'mkswap', ['-q']],
    ['a FAT filesystem', 'mkfs.vfat', []],
    ['an NTFS filesystem', 'mkfs.ntfs', ['-q', '-F', '-f']],
    [
      'a LUKS container',
      'cryptsetup',
      ['luksFormat', '-q', '--pbkdf', 'pbkdf2', '--key-file', '/proc/version'],
    ],
    ['a qcow2 image', 'qemu-img', ['create', '-q', '-f', 'qcow2']],
    ['a VMDK image', 'qemu-img', ['create', '-q', '-f', 'vmdk']],
    ['a VHDX image', 'qemu-img', ['create', '-q', '-f', 'vhdx']],
    ['a VDI image', 'qemu-img', ['create', '-q', '-f', 'vdi']],
    ['a VHD image', 'qemu-img', ['create', '-q', '-f', 'vpc']],
  ])('%s by %s', async (name, tool, args) => {
    if (!hasTool(tool)) return;
    const disk = blankFile(`made-${args.at(-1)}-${tool}`, 512 * 1024 * 1024);
    const size = tool === 'qemu-img' ? ['64M'] : [];
    execFileSync(tool, [...args, disk, ...size], { stdio: 'pipe' });
    expect((await probeDisk(disk)).signature).toBe(name);
  });

  test('partition tables by sfdisk', async () => {
    if (!hasTool('sfdisk')) return;
    for (const [label, name] of [
      ['gpt', 'a GPT partition table'],
      ['dos', 'a partition table (MBR) or boot sector'],
    ]) {
      const disk = blankFile(`parted-${label}`, 64 * 1024 * 1024);
      execFileSync('sfdisk', ['-q', disk], { input: `label: ${label}\n,32M\n`, stdio: 'pipe' });
      expect((await probeDisk(disk)).signature).toBe(name);
    }
  });
});

describe('every row of the table', () => {
  const sizeBytes = 4 * 1024 * 1024;
  test.each(signatures.map((row) => [row.name, row] as const))('%s', (name, row) => {
    const whole = new Uint8Array(sizeBytes);
    const magic = Buffer.from(
      typeof row.magic === 'string' ? Buffer.from(row.magic, 'latin1') : row.magic,
    );
    const last = row.offset + (row.step ?? 0) * ((row.count ?? 1) - 1);
    whole.set(magic, last < 0 ? sizeBytes + last : last);
    const head = whole.subarray(0, 2 * 1024 * 1024);
    const tail = whole.subarray(sizeBytes - 128 * 1024);
    expect(findSignature({ sizeBytes, head, tail })).toBe(name);
  });
});

test('a blank disk carries nothing', async () => {
  const probe = await probeDisk(blankFile('blank', 3 * 1024 * 1024));
  expect(probe).toMatchObject({
    kind: 'file',
    sizeBytes: 3 * 1024 * 1024,
    writable: true,
    label: null,
    labelProblem: null,
    signature: null,
  });
});

test.each([0, 1, 511, 4096, 8191])('a disk of %d bytes is probed', async (sizeBytes) => {
  const probe = await probeDisk(blankFile(`tiny-${sizeBytes}`, sizeBytes));
  expect(probe).toMatchObject({ kind: 'file', sizeBytes, label: null, signature: null });
});

test('labels are found, damaged ones are told apart from none', async () => {
  const label = encodeLabel(sampleLabel({ generation: 1 }));
  const disk = path('labelled');
  writeFileSync(disk, Buffer.concat([new Uint8Array(4096), label]));
  expect((await probeDisk(disk)).label).toEqual(sampleLabel({ generation: 1 }));
  writeFileSync(disk, Buffer.concat([new Uint8Array(4096), flipBit(label, 5000)]));
  expect(await probeDisk(disk)).toMatchObject({
    label: null,
    labelProblem: { code: 'bad-checksum' },
  });
});

describe('odd paths', () => {
  test('missing, directory', async () => {
    mkdirSync(path('folder'));
    expect((await probeDisk(path('nothing'))).kind).toBe('missing');
    expect((await probeDisk(path('folder'))).kind).toBe('directory');
    await expect(probeDisk(join(blankFile('plain', 1), 'below'))).rejects.toMatchObject({
      code: 'disk/unusable',
    });
  });

  test('a fifo, a socket and a character device are not opened', async () => {
    execFileSync('mkfifo', [path('fifo')]);
    const server = createServer().listen(path('socket'));
    await new Promise((listening) => server.once('listening', listening));
    for (const odd of [path('fifo'), path('socket'), '/dev/zero']) {
      expect((await probeDisk(odd)).kind).toBe('special');
    }
    await new Promise((closed) => server.close(closed));
  });

  test('a link is the same disk as what it leads to', async () => {
    const disk = blankFile('target', 4096);
    symlinkSync(disk, path('link'));
    const [direct, linked] = [await probeDisk(disk), await probeDisk(path('link'))];
    expect(linked.identity).toBe(direct.identity);
  });
});
