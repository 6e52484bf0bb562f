/**
 * /v1/volumes/{name}/actions/attach and …/detach: into a running guest and out of it; …/announce-size: what it knows of its disk.
 */
import { Type } from 'typebox';
import type { GuestDisk as FoundDisk } from '../../export/guest-disks.ts';
import { guestBuses } from '../../export/hot-plug.ts';
import { envelope, planDocument } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, NameParams, problems } from '../route-kit.ts';
import { GuestDisk, Plan } from '../schemas.ts';

const Monitor = Type.String({
  minLength: 1,
  maxLength: 4096,
  description: "the socket of QEMU's monitor (QMP), on the service's host",
});
const MonitorBody = body({ qmp: Monitor });
const AttachBody = body({
  qmp: Monitor,
  bus: Type.Optional(
    Type.Union(
      guestBuses.map((bus) => Type.Literal(bus)),
      { description: 'virtio-blk unless given' },
    ),
  ),
});
const DetachBody = body({
  qmp: Monitor,
  timeout_seconds: Type.Optional(
    Type.Number({ minimum: 1, maximum: 120, description: 'for the guest to let go; 30' }),
  ),
});

export function guestDiskRoutes(app: ApiApp, { guestDisks, volumes }: ApiServices): void {
  const common = {
    tags: ['volume'],
    params: NameParams,
    querystring: DryRunQuery,
    response: { 200: Type.Union([GuestDisk, Plan]), ...problems },
  };

  app.post(
    '/v1/volumes/:name/actions/attach',
    {
      schema: {
        ...common,
        summary: 'Plugs the volume into a running QEMU, exported if it was not, or confirms it',
        body: AttachBody,
      },
    },
    async (request) => {
      const { name } = volumes.get(request.params.name);
      const { qmp, bus = 'virtio-blk' } = request.body;
      const { dry_run: dryRun } = request.query;
      const disk = await guestDisks.attach(name, bus, { monitor: qmp, ...defined({ dryRun }) });
      return answer('attach', disk, dryRun);
    },
  );

  app.post(
    '/v1/volumes/:name/actions/detach',
    {
      schema: {
        ...common,
        summary: 'Takes the volume out of a running QEMU when the guest lets go; the export stays',
        body: DetachBody,
      },
    },
    async (request) => {
      const { name } = volumes.get(request.params.name);
      const { qmp, timeout_seconds: seconds } = request.body;
      const { dry_run: dryRun } = request.query;
      const timeoutMs = seconds === undefined ? undefined : 1000 * seconds;
      const options = { monitor: qmp, ...defined({ dryRun, timeoutMs }) };
      return answer('detach', await guestDisks.detach(name, options), dryRun);
    },
  );

  app.post(
    '/v1/volumes/:name/actions/announce-size',
    {
      schema: {
        ...common,
        summary: 'Tells a running QEMU how large the volume is now, which its guest sees at once',
        body: MonitorBody,
      },
    },
    async (request) => {
      const { name } = volumes.get(request.params.name);
      const { dry_run: dryRun } = request.query;
      const options = { monitor: request.body.qmp, ...defined({ dryRun }) };
      return answer('announce size', await guestDisks.announceSize(name, options), dryRun);
    },
  );
}

function answer(action: string, disk: FoundDisk, dryRun: boolean | undefined) {
  const { volume, changed } = disk;
  if (dryRun) return planDocument({ action, target: volume, changed });
  return envelope('GuestDisk', { ...disk });
}
