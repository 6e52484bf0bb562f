/**
 * Every route there is, but the OpenAPI document's own.
 */
import { yieldToOthers } from '../../base/clock.ts';
import type { ApiServices } from '../ports.ts';
import type { ApiApp } from '../route-kit.ts';
import { adoptionRoutes } from './adoption.ts';
import { backupRoutes } from './backups.ts';
import { diskActionRoutes } from './disk-actions.ts';
import { diskRoutes } from './disks.ts';
import { eventRoutes } from './events.ts';
import { exportRoutes } from './exports.ts';
import { guestDiskRoutes } from './guest-disks.ts';
import { healthRoutes } from './health.ts';
import { imageRoutes } from './images.ts';
import { leaveRoutes } from './leave.ts';
import { movementRoutes } from './movements.ts';
import { operationRoutes } from './operations.ts';
import { poolRoutes } from './pools.ts';
import { scheduleRoutes } from './schedules.ts';
import { scrubRoutes } from './scrubs.ts';
import { snapshotRoutes } from './snapshots.ts';
import { statusRoutes } from './status.ts';
import { volumeActionRoutes } from './volume-actions.ts';
import { volumeRoutes } from './volumes.ts';

const routes = [
  poolRoutes,
  diskRoutes,
  diskActionRoutes,
  movementRoutes,
  scrubRoutes,
  volumeRoutes,
  adoptionRoutes,
  leaveRoutes,
  imageRoutes,
  backupRoutes,
  volumeActionRoutes,
  snapshotRoutes,
  scheduleRoutes,
  exportRoutes,
  guestDiskRoutes,
  operationRoutes,
  eventRoutes,
  statusRoutes,
  healthRoutes,
];

export async function addRoutes(app: ApiApp, services: ApiServices): Promise<void> {
  for (const add of routes) {
    add(app, services);
    // Guests that have just got their disks back come first.
    await yieldToOthers();
  }
}
