/**
 * /v1/volumes/{name}/actions/load: a volume with the content of an image; …/save: an image of a volume.
 */
import { Type } from 'typebox';
import { imageFormats, savedFormats } from '../../image/formats.ts';
import { planDocument } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan } from '../schemas.ts';

const LoadBody = body({
  source: Type.String({
    minLength: 1,
    maxLength: 4096,
    description: "an absolute path on the service's host, or a URL that qemu-img reads",
  }),
  format: Type.Optional(
    Type.Union(
      imageFormats.map((format) => Type.Literal(format)),
      { description: 'as its beginning says unless given' },
    ),
  ),
  follow: Type.Optional(
    Type.Boolean({ description: 'read other files that the image names, backing files say' }),
  ),
  size_bytes: Type.Optional(Type.Integer({ minimum: 1, description: "the image's unless given" })),
  pool: Type.Optional(Type.String({ description: 'the only pool, when there is one' })),
  class: Type.Optional(Type.String({ description: 'of the disks that its data is to lie on' })),
  serve: Type.Optional(
    Type.Boolean({
      description: 'the volume is there at once, and reads from the image what has not arrived',
    }),
  ),
});

const SaveBody = body({
  file: Type.String({
    minLength: 1,
    maxLength: 4096,
    description: "an absolute path on the service's host",
  }),
  format: Type.Union(savedFormats.map((format) => Type.Literal(format))),
  snapshot: Type.Optional(
    Type.String({ description: 'of the volume, in place of what it is now' }),
  ),
  force: Type.Optional(Type.Boolean({ description: 'replace a file that is there' })),
});

export function imageRoutes(app: ApiApp, { images, operations }: ApiServices): void {
  const common = {
    tags: ['volume'],
    params: NameParams,
    querystring: DryRunQuery,
    response: { 200: Plan, 202: Operation, ...problems },
  };

  app.post(
    '/v1/volumes/:name/actions/load',
    {
      schema: {
        ...common,
        summary: 'Makes the volume with the content of an image, and compares; an operation',
        body: LoadBody,
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const {
        source,
        format,
        follow,
        size_bytes: sizeBytes,
        pool,
        class: label,
        serve,
      } = request.body;
      const options = { format, followsReferences: follow, sizeBytes, pool, class: label, serve };
      const running = operations.find('image-load', name);
      if (running !== undefined && !request.query.dry_run) return answerOperation(reply, running);
      const found = await images.load.plan({ name, source, ...defined(options) });
      if (request.query.dry_run) {
        const { copiedBytes } = found;
        return planDocument({ action: 'image load', target: name, copiedBytes });
      }
      const parameters = found.plan;
      const spec = { operation: 'image-load', target: name, phase: 'copying', parameters };
      return answerOperation(reply, operations.begin(spec));
    },
  );

  app.post(
    '/v1/volumes/:name/actions/save',
    {
      schema: {
        ...common,
        summary:
          'Writes the volume, as it is now or was at a snapshot, to an image file, and compares; an operation',
        body: SaveBody,
      },
    },
    async (request, reply) => {
      const { name: volume } = request.params;
      const { file, format, snapshot, force } = request.body;
      const found = await images.save.plan({
        volume,
        file,
        format,
        ...defined({ snapshot, force }),
      });
      const target = snapshot === undefined ? volume : `${volume}@${snapshot}`;
      if (request.query.dry_run) {
        const { copiedBytes } = found;
        return planDocument({ action: 'image save', target, copiedBytes });
      }
      const spec = { operation: 'image-save', target, phase: 'copying', parameters: found.plan };
      return answerOperation(reply, operations.begin(spec, 'file'));
    },
  );
}
