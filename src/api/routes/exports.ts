/**
 * /v1/exports: add, list, show, remove, how to attach; /v1/clients: who is connected.
 */
import { type Static, Type } from 'typebox';
import { invariant, StorageError } from '../../base/errors.ts';
import { nbdUri } from '../../export/address.ts';
import { attachOptionsOf, libvirtXml, qemuArguments, qmpCommands } from '../../export/attach.ts';
import type { ExportInfo } from '../../export/types.ts';
import { clientItem, envelope, exportItem, planDocument } from '../documents.ts';
import { padded } from '../paging.ts';
import type { ApiServices } from '../ports.ts';
import {
  type ApiApp,
  body,
  createdOr200,
  DryRunQuery,
  defined,
  NameParams,
  problems,
  tag,
} from '../route-kit.ts';
import { listRoute, resultRoute, showRoute } from '../route-shapes.ts';
import { Attachment, ClientList, Export, ExportDetails, ExportList, Plan } from '../schemas.ts';

const ExportBody = body({
  volume: Type.Optional(Type.String()),
  disk: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 4096,
      description: 'in place of a volume: a whole disk as it is, by its URI',
    }),
  ),
  snapshot: Type.Optional(Type.String({ description: 'of the volume: served instead of it' })),
  scratch: Type.Optional(
    Type.Boolean({ description: 'writable; what is written vanishes with the export' }),
  ),
  changed_since: Type.Optional(
    Type.String({
      description: 'a snapshot or bookmark: what changed since is told (NBD contexts)',
    }),
  ),
  read_only: Type.Optional(Type.Boolean()),
  listen: Type.Optional(
    Type.Array(Type.String({ maxLength: 4096 }), {
      maxItems: 8,
      description: '`unix:PATH` or `tcp:HOST:PORT`, besides the default socket',
    }),
  ),
});

const RemoveQuery = {
  disconnect: Type.Optional(Type.Boolean({ description: 'also when clients are connected' })),
};

const AttachQuery = Type.Object({
  listen: Type.Optional(
    Type.String({
      maxLength: 4096,
      description: 'the one of its addresses to go through; absent: the default socket',
    }),
  ),
});

/** What an ETag of an export covers. */
function configuration(info: ExportInfo) {
  const { name, volume, snapshot, disk, scratch, changedSince, readOnly, listen } = info;
  return { name, volume, snapshot, disk, scratch, changedSince, readOnly, listen };
}

export function exportRoutes(app: ApiApp, services: ApiServices): void {
  const tags = ['export'];
  const clients = (name?: string) => Promise.all(services.exports.clients(name).map(clientItem));

  listRoute(app, {
    tag: 'export',
    path: '/v1/exports',
    kind: 'ExportList',
    schema: ExportList,
    items: () => services.exports.list().map(exportItem),
    key: (item) => item.name,
  });
  showRoute(app, {
    tag: 'export',
    path: '/v1/exports/:name',
    kind: 'Export',
    schema: ExportDetails,
    find: (name) => services.exports.get(name),
    item: async (info) => ({ ...exportItem(info), connections: await clients(info.name) }),
    configuration,
  });

  app.get(
    '/v1/exports/:name/attach',
    {
      schema: {
        tags,
        summary: 'The URI, and what QEMU and libvirt need to attach it',
        params: NameParams,
        querystring: AttachQuery,
        response: { 200: Attachment, ...problems },
      },
    },
    async ({ params, query }) => attachment(services.exports.get(params.name), query.listen),
  );

  app.put(
    '/v1/exports/:name',
    {
      schema: {
        tags,
        summary: 'Serves a volume, or a whole disk, under the name, or confirms that it is served',
        params: NameParams,
        querystring: DryRunQuery,
        body: ExportBody,
        response: { 200: Type.Union([Export, Plan]), 201: Export, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { dry_run: dryRun } = request.query;
      const { export: info, changed } = await add(services, name, request.body, dryRun);
      if (dryRun) return planDocument({ action: 'export add', target: name, changed });
      invariant(info !== null, 'what was added can be shown');
      tag(reply, configuration(info));
      reply.code(createdOr200(changed));
      return envelope('Export', { ...exportItem(info), changed });
    },
  );

  resultRoute(app, {
    method: 'DELETE',
    tag: 'export',
    path: '/v1/exports/:name',
    summary: 'Stops serving; the volume, or the disk, stays',
    query: RemoveQuery,
    action: 'export remove',
    find: (name) => services.exports.get(name),
    configuration,
    work: async ({ name }, options, { disconnect }) => {
      await services.exports.remove(name, { ...options, ...defined({ disconnect }) });
    },
  });
  listRoute(app, {
    tag: 'export',
    path: '/v1/clients',
    kind: 'ClientList',
    schema: ClientList,
    filter: 'export',
    items: (name) => {
      if (name !== undefined) services.exports.get(name);
      return clients(name);
    },
    key: (item) => padded(item.id),
  });
}

type AddBody = Static<typeof ExportBody>;

/** @throws StorageError request/invalid it names neither volume nor disk, or both */
function add({ exports }: ApiServices, name: string, asked: AddBody, dryRun?: boolean) {
  const { volume, disk, snapshot, scratch, listen } = asked;
  const { changed_since: changedSince, read_only: readOnly } = asked;
  const ofVolume = defined({ snapshot, scratch, changedSince });
  const access = defined({ readOnly, listen, dryRun });
  if (disk !== undefined && volume === undefined && Object.keys(ofVolume).length === 0) {
    return exports.passThrough({ name, disk, ...access });
  }
  if (volume !== undefined && disk === undefined) {
    return exports.add({ name, volume, ...ofVolume, ...access });
  }
  throw new StorageError('request/invalid', 'name a volume, with or without a snapshot, or a disk');
}

function attachment(info: ExportInfo, through: string | undefined) {
  const options = attachOptionsOf(info, through);
  return envelope('Attachment', {
    export: info.name,
    uri: nbdUri(options.address, info.name),
    qemu_arguments: qemuArguments(options),
    qmp: qmpCommands(options),
    libvirt_xml: libvirtXml(options),
  });
}
