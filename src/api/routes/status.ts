/**
 * /v1/status: the one screen of `varve status`. Everything in it is level-triggered: it holds as long as its cause.
 */
import { version } from '../../base/version.ts';
import type { ExportInfo } from '../../export/types.ts';
import type { PoolWarning } from '../../pool/types.ts';
import { diskItem, envelope, poolItem, warningItem } from '../documents.ts';
import { isEnded } from '../operations.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, problems } from '../route-kit.ts';
import { Status } from '../schemas.ts';

export function statusRoutes(app: ApiApp, services: ApiServices): void {
  app.get(
    '/v1/status',
    { schema: { tags: ['status'], response: { 200: Status, ...problems } } },
    async () => {
      const { service } = services;
      const pools = services.pools.list();
      const exports = services.exports.list();
      const warnings = [
        ...pools.flatMap((pool) => pool.warnings),
        ...exports.flatMap((info) => exportWarnings(info)),
        ...services.exports.passthroughs().flatMap(({ warnings }) => warnings),
      ];
      return envelope('Status', {
        version,
        health: healthOf(warnings),
        ready: service.readiness().every((condition) => condition.ok),
        backend: service.backend,
        state_dir: service.stateDir,
        started_at: service.startedAt.toISOString(),
        warnings: warnings.map(warningItem),
        pools: pools.map(poolItem),
        disks: pools.flatMap((pool) => pool.disks).map(diskItem),
        operations: services.operations.list().filter((item) => !isEnded(item)),
        volume_count: services.volumes.list().length,
        export_count: exports.length,
        client_count: services.exports.clients().length,
      });
    },
  );
}

function exportWarnings({ name, failure }: ExportInfo): PoolWarning[] {
  if (failure === null) return [];
  return [
    {
      level: 'critical',
      code: 'export/failed',
      message: `export ${name} is not served: ${failure}`,
      actions: [`varve export show ${name}`, 'mend the cause, then repeat the export add'],
    },
  ];
}

function healthOf(warnings: readonly PoolWarning[]): 'ok' | 'warning' | 'critical' {
  if (warnings.some((warning) => warning.level === 'critical')) return 'critical';
  return warnings.length > 0 ? 'warning' : 'ok';
}
