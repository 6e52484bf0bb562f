/**
 * What a service has above pools and volumes, for tests that move volumes between pools.
 */
import { ExportService } from '../../src/export/export-service.ts';
import { HostStore } from '../../src/export/export-store.ts';
import { PassthroughDisks } from '../../src/export/passthrough.ts';
import { PoolMoves } from '../../src/migration/pool-move/pool-moves.ts';
import type { EventInput } from '../../src/pool/types.ts';
import type { Fixture } from '../pool/fixture.ts';

export interface Above {
  readonly exports: ExportService;
  readonly moves: PoolMoves;
}

/** As a service that begins, on the pools that are open. */
export async function startAbove(fixture: Fixture): Promise<Above> {
  const { pools, volumes, snapshots, dataPlane, clock } = fixture;
  const emit = (event: EventInput) => fixture.events.push(event);
  const exports = new ExportService({
    dataPlane,
    volumes,
    snapshots,
    disks: new PassthroughDisks({ dataPlane, pools, emit }),
    emit,
    pools: () => pools.all(),
    host: await HostStore.open({
      exports: fixture.path('passthrough.json'),
      secrets: fixture.path('secrets.json'),
    }),
    now: () => new Date(clock.nowMs()),
    defaultAddress: { kind: 'unix', path: fixture.path('nbd.sock') },
    onClientsGone() {},
  });
  const moves = new PoolMoves({ pools, volumes, exports, clock, emit });
  await moves.settle();
  await exports.start();
  return { exports, moves };
}

export async function stopAbove({ exports, moves }: Above): Promise<void> {
  moves.close();
  await exports.close();
}
