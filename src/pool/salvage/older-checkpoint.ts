/**
 * Earlier checkpoints that lie on the disks still: their clusters were given back, and not yet used for anything else.
 *
 * No label names them, so each is believed only if it is whole: a first cluster that no other leads to, a last one, and entries that fill the
 * clusters between them exactly.
 */
import type { CheckedDisk } from '../check/disks.ts';
import type { ChainBlock } from '../format/checkpoint-codec.ts';
import { EntryParser } from '../format/checkpoint-entry.ts';
import { FormatError } from '../format/format-error.ts';
import { type ChainPlaces, searchBlocks, soundBlock } from './chain-walk.ts';

export interface OlderCheckpoint {
  readonly sequence: number;
  readonly blocks: ChainPlaces;
}

type Link = Omit<ChainBlock, 'payload'>;

/** The whole ones, the newest first. */
export async function olderCheckpoints(
  disks: Iterable<CheckedDisk>,
  before: number,
): Promise<OlderCheckpoint[]> {
  const whole: OlderCheckpoint[] = [];
  for (const disk of disks) {
    const links: Link[] = [];
    for await (const link of searchBlocks(disk)) if (link.sequence < before) links.push(link);
    for (const sequence of new Set(links.map((link) => link.sequence))) {
      const own = links.filter((link) => link.sequence === sequence);
      for (const blocks of chainsOf(disk, own)) {
        if (await isWhole(blocks)) whole.push({ sequence, blocks });
      }
    }
  }
  return whole.sort((a, b) => b.sequence - a.sequence);
}

function chainsOf(disk: CheckedDisk, links: readonly Link[]): ChainPlaces[] {
  const byCluster = new Map(links.map((link) => [link.cluster, link]));
  const followed = new Set(links.map(({ next }) => next));
  const chains: ChainPlaces[] = [];
  for (const first of links) {
    if (followed.has(first.cluster)) continue;
    const chain: Link[] = [];
    for (let link: Link | undefined = first; link !== undefined; link = byCluster.get(link.next)) {
      chain.push(link);
      // Whatever leads in a circle has no first cluster; this one cannot, but a chain may run into a circle.
      if (chain.length > links.length) break;
    }
    if (chain.at(-1)?.next === 0) chains.push(chain.map(({ cluster }) => ({ disk, cluster })));
  }
  return chains;
}

async function isWhole(blocks: ChainPlaces): Promise<boolean> {
  const parser = new EntryParser();
  try {
    for (const place of blocks) {
      const block = place && (await soundBlock(place));
      if (block === undefined) return false;
      for (const _entry of parser.feed(block.payload));
    }
    parser.finish();
    return true;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}
