// Goal: a picture of volumes, snapshots and clones that is right for branches and stays readable for long lines.
// Method: small forests, drawn and pinned; random forests, in which every name is drawn exactly once.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SnapshotItem } from '../../src/api/schemas.ts';
import { type TreeVolume, treeRows } from '../../src/cli/tree.ts';

function volume(name: string, origin: string | null = null): TreeVolume {
  return { name, origin, size_bytes: 0, created_at: '' };
}

let minutes = 0;

/** Every one is younger than the one before. */
function snapshot(text: string, parent: string | null = null, clones: string[] = []): SnapshotItem {
  const [of = '', name = ''] = text.split('@');
  minutes += 1;
  const created_at = new Date(minutes * 60_000).toISOString();
  return { volume: of, name, parent, clones, created_at } as SnapshotItem;
}

const drawn = (...given: Parameters<typeof treeRows>) => treeRows(...given).map((row) => row.drawn);

test('what follows on one line stands below it; clones and branches further in', () => {
  const volumes = [volume('gold'), volume('tin'), volume('web1', 'gold@monday')];
  const snapshots = [
    snapshot('gold@monday', null, ['web1']),
    snapshot('gold@try', 'monday'),
    snapshot('gold@try-2', 'try'),
    snapshot('gold@tuesday', 'monday'),
    snapshot('web1@a'),
    snapshot('gold@wednesday', 'tuesday'),
  ];
  expect(drawn(volumes, snapshots)).toEqual([
    'gold',
    '├─ @monday',
    '│  ├─ web1',
    '│  │  └─ @a',
    '│  └─ @try',
    '│     └─ @try-2',
    '├─ @tuesday',
    '└─ @wednesday',
    'tin',
  ]);
  expect(drawn(volumes, snapshots, 'web1')).toEqual(['web1', '└─ @a']);
});

test('the line is that of the newest snapshot, not of the newest branch', () => {
  const snapshots = [
    snapshot('v@base'),
    snapshot('v@a', 'base'),
    snapshot('v@safety', 'base'),
    snapshot('v@b', 'a'),
  ];
  expect(drawn([volume('v')], snapshots)).toEqual([
    'v',
    '├─ @base',
    '│  └─ @safety',
    '├─ @a',
    '└─ @b',
  ]);
});

test('a clone whose origin is not given is a tree of its own', () => {
  expect(drawn([volume('web', 'gone@a')], [])).toEqual(['web']);
});

test('as many snapshots as a volume may have are one column', () => {
  const names = Array.from({ length: 4096 }, (_, at) => `s${at}`);
  const snapshots = names.map((name, at) => snapshot(`v@${name}`, names[at - 1] ?? null));
  const rows = drawn([volume('v')], snapshots);
  expect(rows).toHaveLength(4097);
  expect(Math.max(...rows.map((row) => row.length))).toBe('├─ @s4095'.length);
});

test('everything is drawn once', () => {
  const step = fc.record({ clone: fc.boolean(), of: fc.nat(), at: fc.nat() });
  const property = fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const volumes = [volume('v0')];
    const snapshots: SnapshotItem[] = [];
    for (const { clone, of, at } of steps) {
      const source = snapshots[at % Math.max(1, snapshots.length)];
      if (clone && source !== undefined) {
        const name = `v${volumes.length}`;
        (source.clones as string[]).push(name);
        volumes.push(volume(name, `${source.volume}@${source.name}`));
      } else {
        const { name } = volumes[of % volumes.length] as TreeVolume;
        const own = snapshots.filter((each) => each.volume === name);
        const parent = own[at % (own.length + 1)]?.name ?? null;
        snapshots.push(snapshot(`${name}@s${snapshots.length}`, parent));
      }
    }
    const rows = treeRows(volumes, snapshots).map(({ of }) => of);
    expect(new Set(rows)).toEqual(new Set([...volumes, ...snapshots]));
    expect(rows).toHaveLength(volumes.length + snapshots.length);
  });
  // fast-check prints seed and path of a failure.
  fc.assert(property, { numRuns: 200 });
});
