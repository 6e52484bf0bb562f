/**
 * /v1/snapshots: take (several at once), list, show, rename, delete, what changed; a snapshot is addressed as VOLUME@NAME.
 */
import { Type } from 'typebox';
import { formatSnapshotName, parseSnapshotName } from '../../snapshot/names.ts';
import type { SnapshotInfo } from '../../snapshot/types.ts';
import { envelope, planDocument, snapshotItem } from '../documents.ts';
import { PageQuery, padded, page } from '../paging.ts';
import type { ApiServices } from '../ports.ts';
import { checkIfMatch } from '../precondition.ts';
import {
  type ApiApp,
  body,
  ConditionHeaders,
  createdOr200,
  DryRunQuery,
  defined,
  problems,
  tag,
} from '../route-kit.ts';
import { listRoute, resultRoute, showRoute } from '../route-shapes.ts';
import {
  Plan,
  Snapshot,
  SnapshotAttachment,
  SnapshotCreation,
  SnapshotDiff,
  type SnapshotItem,
  SnapshotList,
} from '../schemas.ts';

const SnapshotParams = Type.Object({
  snapshot: Type.String({ maxLength: 255, description: 'VOLUME@NAME' }),
});

const CreationBody = body({
  names: Type.Array(Type.String({ maxLength: 255 }), {
    minItems: 1,
    description: 'VOLUME@NAME; several are taken at one point in time, all or none',
  }),
  note: Type.Optional(Type.String()),
  labels: Type.Optional(Type.Record(Type.String(), Type.String())),
  attachment: Type.Optional(Type.String({ description: 'opaque, kept with the snapshots' })),
  quiesce_socket: Type.Optional(
    Type.String({ maxLength: 4096, description: "the QEMU guest agent's socket" }),
  ),
  quiesce_timeout_seconds: Type.Optional(Type.Number({ minimum: 0.1, maximum: 300 })),
});

const DeleteQuery = {
  bookmark: Type.Optional(Type.Boolean({ description: 'keep what tells changes since' })),
  keep_clones: Type.Optional(Type.Boolean({ description: 'also when clones read through it' })),
};

const DiffQuery = Type.Object({
  to: Type.Optional(
    Type.String({ description: "a snapshot's name; the volume itself by default" }),
  ),
  ...PageQuery.properties,
  // An extent is small, and every page computes the whole: few pages.
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 100_000, description: 'extents per page' }),
  ),
});

/** What an ETag of a snapshot covers. */
function configuration({ id, volume, name }: SnapshotInfo) {
  return { id, volume, name };
}

export function snapshotRoutes(app: ApiApp, { snapshots }: ApiServices): void {
  const tags = ['snapshot'];
  const find = (text: string) => {
    const { volume, snapshot } = parseSnapshotName(text);
    return snapshots.get(volume, snapshot);
  };
  const itemOf = async (info: SnapshotInfo) => {
    const { exclusiveBytes, sharedBytes } = await snapshots.space(info.volume, info.name);
    const space = { exclusive_bytes: exclusiveBytes, shared_bytes: sharedBytes };
    return { ...snapshotItem(info), ...space };
  };

  listRoute(app, {
    tag: 'snapshot',
    path: '/v1/snapshots',
    kind: 'SnapshotList',
    schema: SnapshotList,
    filter: 'volume',
    items: (volume) => snapshots.list(volume).map(snapshotItem),
    key: orderOf,
  });

  app.post(
    '/v1/snapshots',
    {
      schema: {
        tags,
        summary: 'Takes snapshots, all at one point in time, or confirms them',
        querystring: DryRunQuery,
        body: CreationBody,
        response: {
          200: Type.Union([SnapshotCreation, Plan]),
          201: SnapshotCreation,
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const { names, note, labels, attachment } = request.body;
      const { quiesce_socket: quiesceSocket, quiesce_timeout_seconds: quiesceTimeoutSeconds } =
        request.body;
      const { dry_run: dryRun } = request.query;
      const created = await snapshots.create({
        names: names.map(parseSnapshotName),
        ...defined({ note, labels, attachment, quiesceSocket, quiesceTimeoutSeconds, dryRun }),
      });
      const { changed, pauseSeconds } = created;
      if (dryRun) {
        return planDocument({ action: 'snapshot create', target: names.join(' '), changed });
      }
      reply.code(createdOr200(changed));
      return envelope('SnapshotCreation', {
        items: created.snapshots.map(snapshotItem),
        pause_seconds: pauseSeconds,
        changed,
      });
    },
  );

  showRoute(app, {
    tag: 'snapshot',
    path: '/v1/snapshots/:snapshot',
    kind: 'Snapshot',
    schema: Snapshot,
    params: SnapshotParams,
    find,
    item: itemOf,
    configuration,
  });

  app.get(
    '/v1/snapshots/:snapshot/attachment',
    {
      schema: { tags, params: SnapshotParams, response: { 200: SnapshotAttachment, ...problems } },
    },
    async (request) => {
      const { volume, snapshot } = parseSnapshotName(request.params.snapshot);
      const attachment = snapshots.attachment(volume, snapshot);
      return envelope('SnapshotAttachment', { snapshot: request.params.snapshot, attachment });
    },
  );

  app.get(
    '/v1/snapshots/:snapshot/diff',
    {
      schema: {
        tags,
        summary: 'What changed since the snapshot, or the bookmark',
        params: SnapshotParams,
        querystring: DiffQuery,
        response: { 200: SnapshotDiff, ...problems },
      },
    },
    async (request) => {
      const { volume, snapshot } = parseSnapshotName(request.params.snapshot);
      const { to } = request.query;
      const diff = await snapshots.diff(volume, snapshot, to);
      const items = diff.extents.map(({ offset, length }) => {
        return { offset_bytes: offset, length_bytes: length };
      });
      return envelope('SnapshotDiff', {
        from: request.params.snapshot,
        to: to === undefined ? volume : formatSnapshotName({ volume, snapshot: to }),
        changed_bytes: diff.changedBytes,
        ...page(items, (item) => padded(item.offset_bytes), request.query),
      });
    },
  );

  app.patch(
    '/v1/snapshots/:snapshot',
    {
      schema: {
        tags,
        summary: 'Renames a snapshot or a bookmark',
        params: SnapshotParams,
        querystring: DryRunQuery,
        headers: ConditionHeaders,
        body: body({ name: Type.String({ description: 'the new name, without the volume' }) }),
        response: { 200: Type.Union([Snapshot, Plan]), ...problems },
      },
    },
    async (request, reply) => {
      const before = find(request.params.snapshot);
      checkIfMatch(request.headers['if-match'], configuration(before));
      const { dry_run: dryRun } = request.query;
      const { name } = request.body;
      const info = await snapshots.rename(before.volume, before.name, name, defined({ dryRun }));
      const changed = before.name !== name;
      const target = request.params.snapshot;
      if (dryRun) return planDocument({ action: 'snapshot rename', target, changed });
      tag(reply, configuration(info));
      return envelope('Snapshot', { ...(await itemOf(info)), changed });
    },
  );

  resultRoute(app, {
    method: 'DELETE',
    tag: 'snapshot',
    path: '/v1/snapshots/:snapshot',
    summary: 'Deletes snapshots (several with commas, all or none) or bookmarks; copies no data',
    params: Type.Object({ snapshot: Type.String({ maxLength: 16_384 }) }),
    query: DeleteQuery,
    action: 'snapshot delete',
    find: (text) => text.split(',').map(find),
    // The tag of one is what `show` gave; several have none that a caller could know.
    configuration: ([first, ...more]) =>
      first !== undefined && more.length === 0 ? configuration(first) : [first, ...more],
    work: async (found, options, { bookmark, keep_clones: keepClones }) => {
      const names = found.map(({ volume, name }) => ({ volume, snapshot: name }));
      const { freedBytes } = await snapshots.delete(names, {
        ...options,
        ...defined({ bookmark, keepClones }),
      });
      return { target: names.map(formatSnapshotName).join(' '), freedBytes };
    },
  });
}

/** By volume, then by age: a bookmark keeps the time of its snapshot, not its number. A space sorts before any name. */
function orderOf({ volume, created_at, id }: SnapshotItem): string {
  return `${volume} ${created_at} ${padded(id)}`;
}
