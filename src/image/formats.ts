/**
 * The formats of images, by qemu-img's names.
 */

export const imageFormats = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi', 'vpc'] as const;
export type ImageFormat = (typeof imageFormats)[number];

/** VPC rounds sizes up. */
export const savedFormats = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'] as const;
export type SavedFormat = (typeof savedFormats)[number];
