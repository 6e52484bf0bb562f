/**
 * /v1/schedules: which volumes are snapshotted by themselves, and what is kept of that.
 */
import { Type } from 'typebox';
import { StorageError } from '../../base/errors.ts';
import type { ScheduleInfo } from '../../snapshot/types.ts';
import { envelope, planDocument, scheduleItem } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import {
  type ApiApp,
  body,
  createdOr200,
  DryRunQuery,
  defined,
  problems,
  tag,
} from '../route-kit.ts';
import { listRoute, resultRoute, showRoute } from '../route-shapes.ts';
import { Plan, Schedule, ScheduleList } from '../schemas.ts';

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

/** What an ETag of a schedule covers: not when it ran. */
function configuration({ volume, everySeconds, keep }: ScheduleInfo) {
  return { volume, everySeconds, keep };
}

export function scheduleRoutes(app: ApiApp, { snapshots, volumes }: ApiServices): void {
  const lookUp = (volume: string) =>
    snapshots.schedules().find((schedule) => schedule.volume === volume);
  const one = {
    tag: 'schedule',
    path: '/v1/schedules/:volume',
    params: VolumeParams,
    configuration,
    find: (volume: string): ScheduleInfo => {
      const found = lookUp(volumes.get(volume).name);
      if (found !== undefined) return found;
      throw new StorageError('schedule/not-found', `volume ${volume} has no schedule`);
    },
  };

  listRoute(app, {
    tag: 'schedule',
    path: '/v1/schedules',
    kind: 'ScheduleList',
    schema: ScheduleList,
    items: () => snapshots.schedules().map(scheduleItem),
    key: ({ volume }) => volume,
  });

  showRoute(app, {
    ...one,
    kind: 'Schedule',
    schema: Schedule,
    item: scheduleItem,
  });

  app.put(
    '/v1/schedules/:volume',
    {
      schema: {
        tags: ['schedule'],
        summary:
          'Snapshots a volume from now on, or changes how; a dry run tells what would expire',
        params: VolumeParams,
        querystring: DryRunQuery,
        body: ScheduleBody,
        response: { 200: Type.Union([Schedule, Plan]), 201: Schedule, ...problems },
      },
    },
    async (request, reply) => {
      const { volume } = request.params;
      const { keep_last: last, keep_hourly: hourly, keep_daily: daily } = request.body;
      const { keep_weekly: weekly, every_seconds: everySeconds } = request.body;
      const { dry_run: dryRun } = request.query;
      const isNew = lookUp(volume) === undefined;
      const { schedule, changed, expiring } = await snapshots.schedule({
        volume,
        keep: defined({ last, hourly, daily, weekly }),
        ...defined({ everySeconds, dryRun }),
      });
      if (dryRun) {
        return planDocument({ action: 'snapshot schedule', target: volume, changed, expiring });
      }
      tag(reply, configuration(schedule));
      reply.code(createdOr200(isNew));
      return envelope('Schedule', { ...scheduleItem(schedule), changed, expiring: [...expiring] });
    },
  );

  resultRoute(app, {
    ...one,
    method: 'DELETE',
    summary: 'No more snapshots by themselves; those that were taken stay',
    action: 'snapshot schedule remove',
    work: async ({ volume }, options) => {
      await snapshots.removeSchedule(volume, options);
      return undefined;
    },
  });
}
