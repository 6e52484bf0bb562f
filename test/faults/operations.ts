/**
 * Every operation of the control plane, as it is begun in a FaultWorld, and what it changes.
 */
import type { ErrorCode } from '../../src/base/errors.ts';
import { KiB } from '../../src/base/units.ts';
import type { LeaveContext } from '../../src/migration/leave.ts';
import { putRecord } from '../../src/pool/pool-records.ts';
import { type Contents, type FaultWorld, volumeBytes } from './world.ts';

export interface Operation {
  readonly prepare?: (world: FaultWorld) => Promise<unknown>;
  /** The last step before the fault; no content can be read behind it. */
  readonly closes?: (world: FaultWorld) => Promise<unknown>;
  readonly run: (world: FaultWorld) => Promise<unknown>;
  /** It opens disks: nobody is told of what they do then, so there is nothing to wait for before they get well. */
  readonly opens?: true;
  /** Contents afterwards; as before unless given. */
  readonly changes?: (before: Contents) => Contents;
  /** Whether it has taken place, where contents do not tell. */
  readonly isDone?: (world: FaultWorld) => boolean;
  /** What is said to who repeats it after it took place. */
  readonly whenDone?: readonly ErrorCode[];
  /** Content that was read wrong may have been written. */
  readonly copies?: boolean;
}

const steadily: LeaveContext = {
  report() {},
  whileRunning: async () => {},
  setPhase() {},
  remember() {},
};
const untilDone = { report() {}, signal: undefined };

function changed(before: Contents, change: Readonly<Record<string, Buffer | undefined>>): Contents {
  const after = new Map(before);
  for (const [name, content] of Object.entries(change)) {
    if (content === undefined) after.delete(name);
    else after.set(name, content);
  }
  return after;
}

const disksOf = ({ fixture }: FaultWorld) => fixture.pools.get('gold').info().disks;
const has = (world: FaultWorld, name: string) =>
  disksOf(world).some(({ path }) => path === world.path(name));
const second = { pool: 'gold', number: 1 };

async function replace(world: FaultWorld): Promise<void> {
  if (!has(world, 'b')) return;
  const { replacement } = await world.migration.beginReplace(second, world.uri('c'), {
    force: true,
  });
  await world.migration.replace(second, replacement, steadily);
}

async function adopt(world: FaultWorld): Promise<void> {
  const plan = await world.adoption.planAgain({
    name: 'old',
    source: world.path('image'),
    pool: 'gold',
  });
  if (plan !== undefined) await world.adoption.adopt(plan, untilDone);
}

async function deleteMiddle({ fixture: { snapshots, pools } }: FaultWorld): Promise<void> {
  await snapshots.delete([{ volume: 'v', snapshot: 's2' }], {});
  await snapshots.settled(pools.get('gold'));
}

/** So much that the ring is full more than once. */
async function fillRing({ fixture: { pools } }: FaultWorld): Promise<void> {
  const pool = pools.get('gold');
  for (let n = 0; n < 10; n++) {
    await pool.commit([putRecord('note', { n, text: 'x'.repeat(80 * KiB) })]);
  }
}

async function moveAway({ above, fixture }: FaultWorld): Promise<void> {
  if (fixture.volumes.get('v').pool === 'silver') return;
  await above.moves.move('v', { to: 'silver', keepSeconds: 0 }, steadily);
}

export const operations: Readonly<Record<string, Operation>> = {
  'service restart': {
    opens: true,
    run: async (world) => {
      await world.restart();
      await world.returned('gold');
      world.fixture.pools.get('gold').expectOnline();
    },
  },
  'pool create': {
    opens: true,
    run: ({ fixture, uri }) => fixture.pools.create('new', [uri('c')]),
    isDone: ({ fixture }) => fixture.pools.list().some(({ name }) => name === 'new'),
  },
  'pool delete': {
    opens: true,
    prepare: ({ fixture, uri }) => fixture.pools.create('new', [uri('c')]),
    run: ({ fixture }) => fixture.pools.delete('new'),
    isDone: ({ fixture }) => fixture.pools.list().every(({ name }) => name !== 'new'),
    whenDone: ['pool/not-found'],
  },
  'pool export': {
    run: ({ fixture }) => fixture.pools.export('gold'),
  },
  'pool import': {
    opens: true,
    closes: ({ fixture }) => fixture.pools.export('gold'),
    run: ({ fixture, path }) => fixture.pools.import([path('a'), path('b')]),
    whenDone: ['pool/exists'],
  },
  'pool check': { run: ({ fixture }) => fixture.pools.check('gold') },
  'pool scrub': {
    run: ({ fixture }) =>
      fixture.scrubs.scrub(
        { pool: 'gold' },
        { ...steadily, from: undefined, remember() {}, tellFindings() {} },
      ),
  },
  checkpoint: { run: fillRing },
  'disk add': {
    opens: true,
    run: (world) => world.fixture.pools.addDisk('gold', world.uri('c'), { force: true }),
    isDone: (world) => has(world, 'c'),
    whenDone: ['disk/in-use'],
  },
  'disk drain': {
    run: (world) => world.migration.drain(second, steadily),
    isDone: ({ fixture }) => fixture.pools.get('gold').occupancy(1).owned === 0,
    copies: true,
  },
  'disk remove': {
    prepare: (world) => world.migration.drain(second, steadily),
    run: (world) => world.fixture.pools.removeDisk('gold', 1),
    isDone: (world) => !has(world, 'b'),
    whenDone: ['disk/not-found'],
  },
  'disk replace': { opens: true, run: replace, isDone: (world) => !has(world, 'b'), copies: true },
  'pool rebalance': {
    prepare: (world) => world.fixture.pools.addDisk('gold', world.uri('c')),
    run: (world) => world.migration.rebalance('gold', steadily),
    copies: true,
  },
  'volume create': {
    run: ({ fixture }) =>
      fixture.volumes.create({ name: 'x', sizeBytes: volumeBytes, pool: 'gold' }),
    changes: (before) => changed(before, { x: Buffer.alloc(volumeBytes) }),
  },
  'volume create --thick': {
    run: ({ fixture }) =>
      fixture.volumes.create({ name: 'x', sizeBytes: volumeBytes, pool: 'gold', thick: true }),
    changes: (before) => changed(before, { x: Buffer.alloc(volumeBytes) }),
  },
  'volume delete': {
    run: ({ fixture }) => fixture.volumes.delete('w'),
    changes: (before) => changed(before, { w: undefined }),
    whenDone: ['volume/not-found'],
  },
  'volume resize': {
    run: ({ fixture }) => fixture.volumes.resize('v', 2 * volumeBytes),
    changes: (before) =>
      changed(before, {
        v: Buffer.concat([before.get('v') as Buffer, Buffer.alloc(volumeBytes)]),
      }),
  },
  'volume rename': {
    run: ({ fixture }) => fixture.volumes.rename('w', 'x'),
    changes: (before) => changed(before, { w: undefined, x: before.get('w') }),
    whenDone: ['volume/not-found'],
  },
  'volume move to a disk': {
    run: (world) =>
      world.migration.place('v', world.migration.placementFor('v', world.path('b')), steadily),
    copies: true,
  },
  'volume move to a pool': {
    run: moveAway,
    isDone: ({ fixture }) => fixture.volumes.get('v').pool === 'silver',
    copies: true,
  },
  'volume adopt': {
    opens: true,
    run: adopt,
    changes: (before) =>
      changed(before, { old: Buffer.alloc(volumeBytes, Buffer.from([9, 0, 17, 9])) }),
    copies: true,
  },
  'volume absorb': {
    prepare: adopt,
    run: (world) => world.migration.absorb('old', steadily),
    isDone: (world) => disksOf(world).every(({ role }) => role !== 'adopted'),
    copies: true,
  },
  'volume leave': {
    run: async ({ leave, path }) => {
      const { plan } = await leave.plan({ volume: 'v', disk: path('left'), force: true });
      await leave.leave(plan, steadily);
    },
    copies: true,
  },
  'snapshot create': {
    run: ({ fixture }) => fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's3' }] }),
    changes: (before) => changed(before, { 'v@s3': before.get('v') }),
    whenDone: ['snapshot/exists'],
  },
  'snapshot of a group': {
    run: ({ fixture }) =>
      fixture.snapshots.create({
        names: [
          { volume: 'v', snapshot: 'g' },
          { volume: 'w', snapshot: 'g' },
        ],
      }),
    changes: (before) => changed(before, { 'v@g': before.get('v'), 'w@g': before.get('w') }),
    whenDone: ['snapshot/exists'],
  },
  'snapshot delete, and its merge': {
    run: deleteMiddle,
    changes: (before) => changed(before, { 'v@s2': undefined }),
    whenDone: ['snapshot/not-found'],
  },
  'snapshot rename': {
    run: ({ fixture }) => fixture.snapshots.rename('v', 's2', 's4'),
    changes: (before) => changed(before, { 'v@s2': undefined, 'v@s4': before.get('v@s2') }),
    whenDone: ['snapshot/not-found'],
  },
  'snapshot revert': {
    run: ({ fixture }) => fixture.snapshots.revert('v', 's2', { discard: true }),
    changes: (before) => changed(before, { v: before.get('v@s2') }),
  },
  'snapshot clone': {
    run: ({ fixture }) => fixture.snapshots.clone({ volume: 'v', snapshot: 's2' }, 'x'),
    changes: (before) => changed(before, { x: before.get('v@s2') }),
  },
  'volume flatten': {
    run: ({ fixture }) => fixture.snapshots.flatten('w', () => {}, new AbortController().signal),
    copies: true,
  },
  'snapshot diff': { run: ({ fixture }) => fixture.snapshots.diff('v', 's1', 's2') },
};
