/**
 * /v1/volumes/{name}/actions/attach and …/detach: into a running guest and out of it; …/announce-size: what it knows of its disk.
 */
import { type Static, Type } from 'typebox';
import { StorageError } from '../../base/errors.ts';
import type { DomainDisk, DomainDiskOptions } from '../../export/domain-disks.ts';
import type { GuestDisk as GuestDiskHere } from '../../export/guest-disks.ts';
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
const DomainFields = {
  domain: Type.Optional(Type.String({ minLength: 1, description: "in place of qmp: libvirt's" })),
  connect: Type.Optional(Type.String({ minLength: 1, description: "libvirt's URI" })),
  persistent: Type.Optional(Type.Boolean({ description: "in the domain's definition too" })),
};
const AttachBody = body({
  qmp: Type.Optional(Monitor),
  ...DomainFields,
  bus: Type.Optional(
    Type.Union(
      guestBuses.map((bus) => Type.Literal(bus)),
      { description: 'with qmp; virtio-blk unless given' },
    ),
  ),
  shared: Type.Optional(
    Type.Boolean({ description: 'also when clients have the volume: they know of each other' }),
  ),
});
const DetachBody = body({
  qmp: Type.Optional(Monitor),
  ...DomainFields,
  timeout_seconds: Type.Optional(
    Type.Number({ minimum: 1, maximum: 120, description: 'for the guest to let go; 30' }),
  ),
});

export function guestDiskRoutes(
  app: ApiApp,
  { guestDisks, domainDisks, volumes }: ApiServices,
): void {
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
        summary: 'Plugs the volume into a running guest, exported if it was not, or confirms it',
        body: AttachBody,
      },
    },
    async (request) => {
      const { name } = volumes.get(request.params.name);
      const { bus, shared } = request.body;
      const { dry_run: dryRun } = request.query;
      const guest = guestOf(request.body);
      if (guest.kind === 'domain') {
        if (bus !== undefined) throw new StorageError('request/invalid', 'bus is for qmp');
        const options = { ...guest.options, ...defined({ shared, dryRun }) };
        return answer('attach', await domainDisks.attach(name, options), dryRun);
      }
      const options = { monitor: guest.monitor, ...defined({ shared, dryRun }) };
      const disk = await guestDisks.attach(name, bus ?? 'virtio-blk', options);
      return answer('attach', disk, dryRun);
    },
  );

  app.post(
    '/v1/volumes/:name/actions/detach',
    {
      schema: {
        ...common,
        summary: 'Takes the volume out of a running guest when that lets go; the export stays',
        body: DetachBody,
      },
    },
    async (request) => {
      const { name } = volumes.get(request.params.name);
      const { timeout_seconds: seconds } = request.body;
      const { dry_run: dryRun } = request.query;
      const timeoutMs = seconds === undefined ? undefined : 1000 * seconds;
      const limits = defined({ dryRun, timeoutMs });
      const guest = guestOf(request.body);
      const disk =
        guest.kind === 'domain'
          ? await domainDisks.detach(name, { ...guest.options, ...limits })
          : await guestDisks.detach(name, { monitor: guest.monitor, ...limits });
      return answer('detach', disk, dryRun);
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

type Guest =
  | { readonly kind: 'qemu'; readonly monitor: string }
  | { readonly kind: 'domain'; readonly options: DomainDiskOptions };

/** @throws StorageError request/invalid neither named, or both */
function guestOf(asked: Static<typeof DetachBody>): Guest {
  const { qmp, domain, connect, persistent } = asked;
  const ofDomain = defined({ connect, persistent });
  if (domain !== undefined && qmp === undefined) {
    return { kind: 'domain', options: { domain, ...ofDomain } };
  }
  if (qmp !== undefined && domain === undefined && Object.keys(ofDomain).length === 0) {
    return { kind: 'qemu', monitor: qmp };
  }
  throw new StorageError('request/invalid', 'name a guest: by qmp, or by domain');
}

function answer(action: string, disk: GuestDiskHere | DomainDisk, dryRun: boolean | undefined) {
  const { volume, changed } = disk;
  if (dryRun) return planDocument({ action, target: volume, changed });
  return envelope('GuestDisk', { node: null, ...disk });
}
