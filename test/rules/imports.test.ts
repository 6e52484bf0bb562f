// Goal: the code keeps the layers of docs/architecture.md.
// Method: parse every source file, compare its imports with the arrows. A finding names file and import.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { areaOf, filesIn, importsOf, targetOf } from './sources.ts';

/** Each area of src and those it may import from, besides itself. */
const arrows: Record<string, readonly string[]> = {
  'src/base': [],
  'src/dataplane': ['src/base'],
  'src/pool': ['src/dataplane', 'src/base'],
  'src/volume': ['src/pool', 'src/dataplane', 'src/base'],
  'src/snapshot': ['src/volume', 'src/pool', 'src/dataplane', 'src/base'],
  'src/export': ['src/snapshot', 'src/volume', 'src/pool', 'src/dataplane', 'src/base'],
  'src/migration': [
    'src/export',
    'src/snapshot',
    'src/volume',
    'src/pool',
    'src/dataplane',
    'src/base',
  ],
  'src/scrub': [
    'src/migration',
    'src/snapshot',
    'src/volume',
    'src/pool',
    'src/dataplane',
    'src/base',
  ],
  'src/image': [
    'src/export',
    'src/snapshot',
    'src/volume',
    'src/pool',
    'src/dataplane',
    'src/base',
  ],
  'src/backup': ['src/snapshot', 'src/volume', 'src/pool', 'src/dataplane', 'src/base'],
  'src/api': [
    'src/scrub',
    'src/image',
    'src/backup',
    'src/migration',
    'src/export',
    'src/snapshot',
    'src/volume',
    'src/pool',
    'src/dataplane',
    'src/base',
  ],
  'src/cli': ['src/base'],
};

/** Packages that one place wraps, so that replacing one is one place's work. */
const wrapped: Record<string, RegExp> = {
  level: /^src\/pool\/index-store\.ts$/,
  fastify: /^src\/api\//,
  '@fastify/ajv-compiler': /^src\/api\//,
  '@fastify/fast-json-stringify-compiler': /^src\/api\//,
  '@fastify/swagger': /^src\/api\//,
  '@fastify/type-provider-typebox': /^src\/api\//,
  'prom-client': /^src\/api\//,
  commander: /^src\/cli\//,
};

const sources = filesIn(['src'], /\.ts$/);

test('areas import only along the arrows', () => {
  const wrong = sources.flatMap((path) => {
    const area = path.split('/').slice(0, 2).join('/');
    const allowed = arrows[area];
    if (allowed === undefined) return [`${path}: ${area} has no arrows`];
    return importsOf(path)
      .map(({ specifier, kind }) => ({ specifier, kind, target: areaOf(path, specifier) }))
      .filter(({ target }) => target !== undefined && target !== area && !allowed.includes(target))
      .filter(({ target, kind }) => !(area === 'src/cli' && commandMay(target, kind)))
      .map(({ specifier, kind }) => `${path}: ${kind} import of ${specifier}`);
  });
  expect(wrong).toEqual([]);
});

/**
 * The command speaks REST, so it knows the service's types only. `serve` and the offline checker are the
 * exceptions: they load their code at run time, so that no other command pays for it.
 */
function commandMay(target: string | undefined, kind: string): boolean {
  if (target === 'src/api') return kind === 'type' || kind === 'dynamic';
  return target === 'src/pool' && kind === 'dynamic';
}

test('no file needs itself to be loaded', () => {
  const needs = new Map(
    sources.map((path) => [
      path,
      importsOf(path).flatMap(({ specifier, kind }) =>
        kind === 'static' ? (targetOf(path, specifier) ?? []) : [],
      ),
    ]),
  );
  const circles: string[] = [];
  const isDone = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(' → '));
    if (way.includes(path) || isDone.has(path)) return;
    for (const needed of needs.get(path) ?? []) visit(needed, [...way, path]);
    isDone.add(path);
  };
  for (const path of sources) visit(path, []);
  expect(circles).toEqual([]);
});

test('packages are imported only where they are wrapped', () => {
  const wrong = sources.flatMap((path) =>
    importsOf(path)
      .filter(({ specifier }) => wrapped[specifier] !== undefined)
      .filter(({ specifier }) => !wrapped[specifier]?.test(path))
      .map(({ specifier }) => `${path}: ${specifier}`),
  );
  expect(wrong).toEqual([]);
});

test('one file loads the addon', () => {
  const loaders = sources.filter((path) => /varve\.node\b/.test(readFileSync(path, 'utf8')));
  expect(loaders).toEqual(['src/dataplane/binding.ts']);
});

test('one native folder includes napi.h', () => {
  const wrong = filesIn(['native'], /\.(cc|h)$/)
    .filter((path) =>
      /#include\s*[<"](napi|node_api|js_native_api)\.h[>"]/.test(readFileSync(path, 'utf8')),
    )
    .filter((path) => !path.startsWith('native/addon/'));
  expect(wrong).toEqual([]);
});
