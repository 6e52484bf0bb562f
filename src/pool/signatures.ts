/**
 * What else may live on a disk, and where it gives itself away.
 *
 * One table: the first row that matches names the content, so what is specific stands before what is general. Pure;
 * probe.ts reads the bytes. Source: the specifications of the formats, and what their own tools write (probe.test.ts).
 */

export interface Signature {
  /** As in "the disk carries …". */
  readonly name: string;
  /** An image format, as qemu-img names it: what a guest sees is inside of it. */
  readonly imageFormat?: string;
  /** Bytes from the start; negative: from the end of the disk rounded down to `alignment`. */
  readonly offset: number;
  readonly magic: string | readonly number[];
  readonly alignment?: number;
  /** Further places: every `step` bytes, `count` in all. */
  readonly step?: number;
  readonly count?: number;
}

const KiB = 1024;
const mdMagic = [0xfc, 0x4e, 0x2b, 0xa9];
const bcacheMagic = [
  0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81,
];
const bcachefsMagic = [
  0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef,
];

export const signatures: readonly Signature[] = [
  { name: 'a qcow2 image', imageFormat: 'qcow2', offset: 0, magic: 'QFI\xfb' },
  { name: 'a VMDK image', imageFormat: 'vmdk', offset: 0, magic: 'KDMV' },
  { name: 'a VMDK image', imageFormat: 'vmdk', offset: 0, magic: 'COWD' },
  { name: 'a VMDK descriptor', imageFormat: 'vmdk', offset: 0, magic: '# Disk DescriptorFile' },
  { name: 'a VHDX image', imageFormat: 'vhdx', offset: 0, magic: 'vhdxfile' },
  { name: 'a VHD image', imageFormat: 'vpc', offset: 0, magic: 'conectix' },
  { name: 'a VDI image', imageFormat: 'vdi', offset: 64, magic: [0x7f, 0x10, 0xda, 0xbe] },
  { name: 'a LUKS container', offset: 0, magic: 'LUKS\xba\xbe' },
  { name: 'an LVM physical volume', offset: 24, magic: 'LVM2 001', step: 512, count: 4 },
  { name: 'a VDO volume', offset: 0, magic: 'dmvdo001' },
  { name: 'a Ceph BlueStore device', offset: 0, magic: 'bluestore block device' },
  { name: 'a BitLocker volume', offset: 3, magic: '-FVE-FS-' },
  { name: 'an NTFS filesystem', offset: 3, magic: 'NTFS    ' },
  { name: 'an exFAT filesystem', offset: 3, magic: 'EXFAT   ' },
  { name: 'a FAT filesystem', offset: 54, magic: 'FAT12   ' },
  { name: 'a FAT filesystem', offset: 54, magic: 'FAT16   ' },
  { name: 'a FAT filesystem', offset: 82, magic: 'FAT32   ' },
  { name: 'an XFS filesystem', offset: 0, magic: 'XFSB' },
  { name: 'a squashfs filesystem', offset: 0, magic: 'hsqs' },
  { name: 'an ext2, ext3 or ext4 filesystem', offset: 1080, magic: [0x53, 0xef] },
  { name: 'an f2fs filesystem', offset: 1024, magic: [0x10, 0x20, 0xf5, 0xf2] },
  { name: 'an EROFS filesystem', offset: 1024, magic: [0xe2, 0xe1, 0xf5, 0xe0] },
  { name: 'a NILFS2 filesystem', offset: 1030, magic: [0x34, 0x34] },
  { name: 'an HFS+ filesystem', offset: 1024, magic: 'H+\x00\x04' },
  { name: 'an APFS container', offset: 32, magic: 'NXSB' },
  { name: 'a btrfs filesystem', offset: 64 * KiB + 64, magic: '_BHRfS_M' },
  { name: 'a GFS2 filesystem', offset: 64 * KiB, magic: [0x01, 0x16, 0x19, 0x70] },
  { name: 'a ReiserFS filesystem', offset: 64 * KiB + 52, magic: 'ReIsEr' },
  { name: 'a JFS filesystem', offset: 32 * KiB, magic: 'JFS1' },
  { name: 'an ISO 9660 filesystem', offset: 32 * KiB + 1, magic: 'CD001' },
  { name: 'a UDF filesystem', offset: 32 * KiB + 1, magic: 'NSR0', step: 2048, count: 8 },
  { name: 'a VMFS volume', offset: 1024 * KiB, magic: [0x0d, 0xd0, 0x01, 0xc0] },
  { name: 'swap space', offset: 4086, magic: 'SWAPSPACE2' },
  { name: 'swap space', offset: 4086, magic: 'SWAP-SPACE' },
  { name: 'a bcache device', offset: 4096 + 24, magic: bcacheMagic },
  { name: 'a bcachefs filesystem', offset: 4096 + 24, magic: bcachefsMagic },
  { name: 'a Linux RAID member', offset: 0, magic: mdMagic },
  { name: 'a Linux RAID member', offset: 4096, magic: mdMagic },
  { name: 'a Linux RAID member', offset: -8 * KiB, alignment: 4 * KiB, magic: mdMagic },
  { name: 'a Linux RAID member', offset: -64 * KiB, alignment: 64 * KiB, magic: mdMagic },
  { name: 'a ZFS pool', offset: 128 * KiB, magic: [0x0c, 0xb1, 0xba, 0x00], step: KiB, count: 128 },
  { name: 'a DRBD device', offset: 60 - 4096, alignment: 4096, magic: [0x83, 0x74, 0x02, 0x6b] },
  { name: 'a DRBD device', offset: 60 - 4096, alignment: 4096, magic: [0x83, 0x74, 0x02, 0x6c] },
  { name: 'a DRBD device', offset: 60 - 4096, alignment: 4096, magic: [0x83, 0x74, 0x02, 0x6d] },
  { name: 'a GPT partition table', offset: 512, magic: 'EFI PART' },
  { name: 'a GPT partition table', offset: 4096, magic: 'EFI PART' },
  { name: 'a GPT partition table', offset: -512, alignment: 512, magic: 'EFI PART' },
  { name: 'a VHD image', imageFormat: 'vpc', offset: -512, alignment: 512, magic: 'conectix' },
  { name: 'a partition table (MBR) or boot sector', offset: 510, magic: [0x55, 0xaa] },
];

/** Bytes to read at the disk's start and at its end so that every row can be looked up. */
export const signatureHeadBytes = 1024 * KiB + 4 * KiB;
export const signatureTailBytes = 128 * KiB;

export interface DiskEdges {
  readonly sizeBytes: number;
  /** The first bytes of the disk. */
  readonly head: Uint8Array;
  /** The last bytes of the disk. */
  readonly tail: Uint8Array;
}

function bytesAt(edges: DiskEdges, offset: number, length: number): Uint8Array {
  const tailStart = edges.sizeBytes - edges.tail.length;
  if (offset + length <= edges.head.length) return edges.head.subarray(offset, offset + length);
  if (offset < tailStart) return new Uint8Array(0);
  return edges.tail.subarray(offset - tailStart, offset - tailStart + length);
}

function matches(signature: Signature, edges: DiskEdges): boolean {
  const { offset, magic, alignment = 1, step = 0, count = 1 } = signature;
  const expected = Buffer.from(typeof magic === 'string' ? Buffer.from(magic, 'latin1') : magic);
  const end = Math.floor(edges.sizeBytes / alignment) * alignment;
  const base = offset < 0 ? end + offset : offset;
  for (let index = 0; index < count && base >= 0; index++) {
    if (expected.equals(bytesAt(edges, base + index * step, expected.length))) return true;
  }
  return false;
}

/** What qemu-img calls the image format of that signature; undefined when it is none. */
export function imageFormatOf(name: string | null): string | undefined {
  return signatures.find((signature) => signature.name === name)?.imageFormat;
}

/** The name of what the disk carries, or null when nothing known is there. */
export function findSignature(edges: DiskEdges): string | null {
  return signatures.find((signature) => matches(signature, edges))?.name ?? null;
}
