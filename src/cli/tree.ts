/**
 * How volumes, snapshots and clones hang together, drawn. Pure.
 *
 *   gold
 *   ├─ @monday   2026-01-05T…
 *   │  └─ web1   clone
 *   └─ @tuesday
 */
import type { SnapshotItem, VolumeItem } from '../api/schemas.ts';

interface Node {
  readonly text: string;
  readonly children: Node[];
}

/** Every volume with its snapshots below it, and their clones below those. */
export function drawTree(
  volumes: readonly Pick<VolumeItem, 'name' | 'origin'>[],
  snapshots: readonly SnapshotItem[],
): string {
  const names = new Map(volumes.map((volume) => [volume.name, volume]));
  for (const { volume } of snapshots) {
    if (!names.has(volume)) names.set(volume, { name: volume, origin: null });
  }
  const shown = new Set<string>();
  const volumeNode = (name: string): Node => {
    shown.add(name);
    const own = snapshots.filter((snapshot) => snapshot.volume === name);
    const known = new Set(own.map((snapshot) => snapshot.name));
    const below = (parent: string | null) =>
      own
        .filter(
          (snapshot) => (known.has(snapshot.parent ?? '') ? snapshot.parent : null) === parent,
        )
        .map(snapshotNode);
    const snapshotNode = (snapshot: SnapshotItem): Node => ({
      text: `@${snapshot.name}   ${snapshot.created_at}${mark(snapshot)}`,
      children: [
        ...snapshot.clones.filter((clone) => names.has(clone)).map(volumeNode),
        ...below(snapshot.name),
      ],
    });
    return { text: name, children: below(null) };
  };
  const originals = [...names.values()].filter(({ origin }) => origin === null);
  const roots = originals.map(({ name }) => volumeNode(name));
  const lost = [...names.keys()].filter((name) => !shown.has(name)).map(volumeNode);
  return [...roots, ...lost].flatMap((root) => [root.text, ...lines(root.children)]).join('\n');
}

function lines(nodes: readonly Node[]): string[] {
  return nodes.flatMap((node, at) => {
    const isLast = at === nodes.length - 1;
    const rest = lines(node.children).map((line) => `${isLast ? '   ' : '│  '}${line}`);
    return [`${isLast ? '└─ ' : '├─ '}${node.text}`, ...rest];
  });
}

function mark({ type, consistency }: SnapshotItem): string {
  if (type === 'bookmark') return '   bookmark';
  return consistency === 'quiesced' ? '   quiesced' : '';
}
