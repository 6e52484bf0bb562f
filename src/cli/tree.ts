/**
 * How volumes, snapshots and clones hang together, as rows that draw a tree. Pure.
 *
 *   gold
 *   ├─ @monday
 *   │  ├─ web1          a clone of @monday
 *   │  └─ @try          goes back to @monday as well, and is not on the way to the newest
 *   ├─ @tuesday         goes back to @monday: what follows on one line stands below, not further in
 *   └─ @wednesday
 *
 * Guarantees: every volume and snapshot given is in one row; the line to the newest snapshot is never indented, so that
 * thousands of snapshots taken one after the other stay readable.
 */
import type { SnapshotItem, VolumeItem } from '../api/schemas.ts';

export type TreeVolume = Pick<VolumeItem, 'name' | 'origin' | 'size_bytes' | 'created_at'>;

export interface TreeRow {
  /** Lines of the tree, then the name. */
  readonly drawn: string;
  readonly of: TreeVolume | SnapshotItem;
}

interface Branch {
  readonly name: string;
  readonly of: TreeVolume | SnapshotItem;
  readonly below: readonly Branch[];
}

/** @param root only what hangs on that volume; all trees otherwise */
export function treeRows(
  volumes: readonly TreeVolume[],
  snapshots: readonly SnapshotItem[],
  root?: string,
): TreeRow[] {
  const forest = new Forest(volumes, snapshots);
  const roots = root === undefined ? forest.all() : forest.trees([root]);
  return roots.flatMap((branch) => [
    { drawn: branch.name, of: branch.of },
    ...rowsOf(branch.below, ''),
  ]);
}

class Forest {
  readonly #volumes = new Map<string, TreeVolume>();
  readonly #lines = new Map<string, Lines>();
  /** Drawn already: nothing is drawn twice. */
  readonly #drawn = new Set<string>();

  constructor(volumes: readonly TreeVolume[], snapshots: readonly SnapshotItem[]) {
    const byVolume = new Map<string, SnapshotItem[]>();
    for (const snapshot of snapshots) {
      const own = byVolume.get(snapshot.volume);
      if (own === undefined) byVolume.set(snapshot.volume, [snapshot]);
      else own.push(snapshot);
    }
    for (const volume of volumes) {
      this.#volumes.set(volume.name, volume);
      this.#lines.set(volume.name, new Lines(byVolume.get(volume.name) ?? []));
    }
  }

  all(): Branch[] {
    const isClone = new Set([...this.#lines.values()].flatMap((lines) => lines.clones));
    const names = [...this.#volumes.keys()];
    const roots = this.trees(names.filter((name) => !isClone.has(name)));
    // A clone whose origin was not given is a root of its own.
    return [...roots, ...this.trees(names)];
  }

  #volume(name: string): Branch {
    this.#drawn.add(name);
    const of = this.#volumes.get(name) as TreeVolume;
    const lines = this.#lines.get(name) as Lines;
    const { main, others } = lines.after(null);
    const branches = others.map((snapshot) => this.#branch(lines, snapshot));
    return { name, of, below: [...branches, ...this.#line(lines, main)] };
  }

  /** The snapshot and what follows it, side by side. */
  #line(lines: Lines, first: SnapshotItem | undefined): Branch[] {
    const branches: Branch[] = [];
    for (let at = first; at !== undefined; ) {
      const { main, others } = lines.after(at.name);
      const clones = this.trees(at.clones);
      const below = [...clones, ...others.map((other) => this.#branch(lines, other))];
      branches.push({ name: `@${at.name}`, of: at, below });
      at = main;
    }
    return branches;
  }

  /** A line that turns off: what follows its first snapshot stands below it. */
  #branch(lines: Lines, first: SnapshotItem): Branch {
    const [head, ...rest] = this.#line(lines, first) as [Branch, ...Branch[]];
    return { ...head, below: [...head.below, ...rest] };
  }

  /** Those that are not drawn yet. */
  trees(names: readonly string[]): Branch[] {
    return names
      .filter((name) => this.#volumes.has(name))
      .flatMap((name) => (this.#drawn.has(name) ? [] : [this.#volume(name)]));
  }
}

/** The snapshots of one volume, by what they go back to. */
class Lines {
  readonly clones: readonly string[];
  readonly #after = new Map<string | null, SnapshotItem[]>();
  /** When the newest was taken that goes back to it. */
  readonly #newest = new Map<string, string>();

  constructor(snapshots: readonly SnapshotItem[]) {
    const names = new Set(snapshots.map(({ name }) => name));
    for (const snapshot of snapshots) {
      const parent = names.has(snapshot.parent ?? '') ? snapshot.parent : null;
      const siblings = this.#after.get(parent);
      if (siblings === undefined) this.#after.set(parent, [snapshot]);
      else siblings.push(snapshot);
    }
    this.clones = snapshots.flatMap((snapshot) => snapshot.clones);
    this.#findNewest();
  }

  /** Those that go back to it; `main` is the one that the newest snapshot goes back through. */
  after(name: string | null): { main: SnapshotItem | undefined; others: SnapshotItem[] } {
    const all = this.#after.get(name) ?? [];
    let main = all[0];
    for (const each of all) if (this.#newestOf(each) >= this.#newestOf(main)) main = each;
    return { main, others: all.filter((each) => each !== main) };
  }

  /** From the leaves to the roots, without recursion: a line may have thousands. */
  #findNewest(): void {
    const rootsFirst = [...(this.#after.get(null) ?? [])];
    for (const { name } of rootsFirst) rootsFirst.push(...(this.#after.get(name) ?? []));
    for (const { name, created_at } of rootsFirst.reverse()) {
      const after = this.#after.get(name) ?? [];
      const newest = [created_at, ...after.map((each) => this.#newestOf(each))].sort().at(-1);
      this.#newest.set(name, newest ?? created_at);
    }
  }

  #newestOf(snapshot: SnapshotItem | undefined): string {
    return this.#newest.get(snapshot?.name ?? '') ?? '';
  }
}

function rowsOf(branches: readonly Branch[], indent: string): TreeRow[] {
  return branches.flatMap((branch, at) => {
    const isLast = at === branches.length - 1;
    const drawn = `${indent}${isLast ? '└─ ' : '├─ '}${branch.name}`;
    const below = rowsOf(branch.below, `${indent}${isLast ? '   ' : '│  '}`);
    return [{ drawn, of: branch.of }, ...below];
  });
}
