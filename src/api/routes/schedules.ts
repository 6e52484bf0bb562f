/**
 * /v1/schedules: which volumes are snapshotted by themselves, and what is kept of that.
 */
import { Type } from 'typebox';
import { envelope, planDocument, resultDocument, scheduleItem } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, problems } from '../route-kit.ts';
import { listRoute } from '../route-shapes.ts';
import { Plan, Result, Schedule, ScheduleList } from '../schemas.ts';

const VolumeParams = Type.Object({ volume: Type.String({ maxLength: 255 }) });
const Count = Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 }));

const ScheduleBody = body({
  every_seconds: Type.Optional(
    Type.Integer({ minimum: 60, description: 'as often as the finest kind kept, by default' }),
  ),
  keep_last: Count,
  keep_hourly: Count,
  keep_daily: Count,
  keep_weekly: Count,
});

export function scheduleRoutes(app: ApiApp, { snapshots }: ApiServices): void {
  const tags = ['schedule'];

  listRoute(app, {
    tag: 'schedule',
    path: '/v1/schedules',
    kind: 'ScheduleList',
    schema: ScheduleList,
    items: () => snapshots.schedules().map(scheduleItem),
    key: ({ volume }) => volume,
  });

  app.put(
    '/v1/schedules/:volume',
    {
      schema: {
        tags,
        summary:
          'Snapshots a volume from now on, or changes how; a dry run tells what would expire',
        params: VolumeParams,
        querystring: DryRunQuery,
        body: ScheduleBody,
        response: { 200: Schedule, ...problems },
      },
    },
    async (request) => {
      const { keep_last: last, keep_hourly: hourly, keep_daily: daily } = request.body;
      const { keep_weekly: weekly, every_seconds: everySeconds } = request.body;
      const plan = await snapshots.schedule({
        volume: request.params.volume,
        keep: defined({ last, hourly, daily, weekly }),
        ...defined({ everySeconds, dryRun: request.query.dry_run }),
      });
      const { schedule, changed, expiring } = plan;
      return envelope('Schedule', { ...scheduleItem(schedule), changed, expiring: [...expiring] });
    },
  );

  app.delete(
    '/v1/schedules/:volume',
    {
      schema: {
        tags,
        summary: 'No more snapshots by themselves; those that were taken stay',
        params: VolumeParams,
        querystring: DryRunQuery,
        response: { 200: Type.Union([Result, Plan]), ...problems },
      },
    },
    async (request) => {
      const { volume: target } = request.params;
      const { dry_run: dryRun } = request.query;
      await snapshots.removeSchedule(target, defined({ dryRun }));
      const effect = { action: 'schedule remove', target };
      return dryRun ? planDocument(effect) : resultDocument(effect);
    },
  );
}
