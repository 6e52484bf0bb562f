/**
 * An export service that serves nobody, for moves between pools of volumes that only the explorer uses.
 */

import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { ExportService } from '../../src/export/export-service.ts';
import { PassthroughDisks } from '../../src/export/passthrough.ts';
import type { Pools } from '../../src/pool/pools.ts';
import type { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import type { VolumeService } from '../../src/volume/volume-service.ts';

export interface ServicesBelow {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly snapshots: SnapshotService;
}

export function nothingExported(dataPlane: DataPlane, services: ServicesBelow): ExportService {
  const { pools, volumes, snapshots } = services;
  const emit = () => {};
  return new ExportService({
    dataPlane,
    volumes,
    snapshots,
    disks: new PassthroughDisks({ dataPlane, pools, emit }),
    emit,
    pools: () => pools.all(),
    host: { pool: null, all: () => [], put: async () => {}, remove: async () => {} },
    now: () => new Date(),
    defaultAddress: { kind: 'unix', path: '' },
    onClientsGone() {},
  });
}
