/**
 * /v1/exports: add, list, show, remove, how to attach; /v1/clients: who is connected.
 */
import { Type } from 'typebox';
import { invariant } from '../../base/errors.ts';
import { parseAddress } from '../../export/address.ts';
import { libvirtXml, qemuArguments, qmpCommands } from '../../export/attach.ts';
import type { ExportInfo } from '../../export/types.ts';
import { clientItem, envelope, exportItem, planDocument, resultDocument } from '../documents.ts';
import { PageQuery, page } from '../paging.ts';
import type { ApiServices } from '../ports.ts';
import { checkIfMatch } from '../precondition.ts';
import {
  type ApiApp,
  body,
  ConditionHeaders,
  createdOr200,
  DryRunQuery,
  defined,
  dryRun,
  NameParams,
  problems,
  tag,
} from '../route-kit.ts';
import { Attachment, ClientList, Export, ExportList, Plan, Result } from '../schemas.ts';

const ExportBody = body({
  volume: Type.String(),
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

const RemoveQuery = Type.Object({
  disconnect: Type.Optional(Type.Boolean({ description: 'also when clients are connected' })),
  dry_run: dryRun(),
});

/** What an ETag of an export covers. */
function configuration({ name, volume, snapshot, readOnly, listen }: ExportInfo) {
  return { name, volume, snapshot, readOnly, listen };
}

export function exportRoutes(app: ApiApp, services: ApiServices): void {
  const tags = ['export'];

  app.get(
    '/v1/exports',
    { schema: { tags, querystring: PageQuery, response: { 200: ExportList, ...problems } } },
    async (request) => {
      const items = services.exports.list().map(exportItem);
      return envelope(
        'ExportList',
        page(items, (item) => item.name, request.query),
      );
    },
  );

  app.get(
    '/v1/exports/:name',
    { schema: { tags, params: NameParams, response: { 200: Export, ...problems } } },
    async (request, reply) => {
      const info = services.exports.get(request.params.name);
      tag(reply, configuration(info));
      return envelope('Export', exportItem(info));
    },
  );

  app.get(
    '/v1/exports/:name/attach',
    {
      schema: {
        tags,
        summary: 'The URI, and what QEMU and libvirt need to attach it',
        params: NameParams,
        response: { 200: Attachment, ...problems },
      },
    },
    async (request) => attachment(services.exports.get(request.params.name)),
  );

  app.put(
    '/v1/exports/:name',
    {
      schema: {
        tags,
        summary: 'Serves a volume under the name, or confirms that it is served',
        params: NameParams,
        querystring: DryRunQuery,
        body: ExportBody,
        response: { 200: Type.Union([Export, Plan]), 201: Export, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { volume, read_only: readOnly, listen } = request.body;
      const { dry_run: dryRun } = request.query;
      const { snapshot, scratch, changed_since: changedSince } = request.body;
      const source = defined({ snapshot, scratch, changedSince });
      const options = { name, volume, ...source, ...defined({ readOnly, listen, dryRun }) };
      const { export: info, changed } = await services.exports.add(options);
      if (dryRun) return planDocument({ action: 'export add', target: name, changed });
      invariant(info !== null, 'what was added can be shown');
      tag(reply, configuration(info));
      reply.code(createdOr200(changed));
      return envelope('Export', { ...exportItem(info), changed });
    },
  );

  app.delete(
    '/v1/exports/:name',
    {
      schema: {
        tags,
        summary: 'Stops serving; the volume stays',
        params: NameParams,
        querystring: RemoveQuery,
        headers: ConditionHeaders,
        response: { 200: Type.Union([Result, Plan]), ...problems },
      },
    },
    async (request) => {
      const { name } = request.params;
      checkIfMatch(request.headers['if-match'], configuration(services.exports.get(name)));
      const { disconnect, dry_run: dryRun } = request.query;
      await services.exports.remove(name, defined({ disconnect, dryRun }));
      const effect = { action: 'export remove', target: name };
      return dryRun ? planDocument(effect) : resultDocument(effect);
    },
  );

  app.get(
    '/v1/clients',
    {
      schema: {
        tags,
        querystring: Type.Object({
          export: Type.Optional(Type.String()),
          ...PageQuery.properties,
        }),
        response: { 200: ClientList, ...problems },
      },
    },
    async (request) => {
      const { export: name } = request.query;
      if (name !== undefined) services.exports.get(name);
      const items = services.exports.clients(name).map(clientItem);
      return envelope(
        'ClientList',
        page(items, (item) => padded(item.id), request.query),
      );
    },
  );
}

/** The first address is the default socket, the one to attach by on this host. */
function attachment(info: ExportInfo) {
  const [uri, listen] = [info.uris[0], info.listen[0]];
  invariant(uri !== undefined && listen !== undefined, 'an export has an address');
  const options = {
    exportName: info.name,
    address: parseAddress(listen),
    readOnly: info.readOnly,
  };
  return envelope('Attachment', {
    export: info.name,
    uri,
    qemu_arguments: qemuArguments(options),
    qmp: qmpCommands(options),
    libvirt_xml: libvirtXml(options),
  });
}

/** Decimal that sorts as its number. */
function padded(id: number): string {
  return String(id).padStart(16, '0');
}
