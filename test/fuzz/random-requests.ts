/**
 * Random requests to REST, grown from its OpenAPI document: most are nearly right, parts of them are not.
 *
 * No text names a place outside of the folder given: the service that gets them may do what they ask for.
 */
import fc from 'fast-check';
import { isWholeText } from '../../src/base/text.ts';

export interface RandomRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** As sent; undefined: none. */
  readonly body: string | undefined;
}

interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
}

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly schema: Schema;
}

interface Route {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
  };
}

export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Route>>>>;
}

/** Texts that mean something to the service, by the name of the field. */
export type KnownTexts = (field: string) => readonly string[];

/** Without a slash no text is a path, and none names another host. */
const harmlessText = fc
  .oneof(
    fc.string({ maxLength: 30 }),
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.constantFrom(
      '',
      '\ud800',
      '__proto__',
      'constructor',
      'x'.repeat(5000),
      '@',
      'a@',
      '@s',
      '%00',
      'null',
    ),
  )
  .map((text) => text.replaceAll('/', '_'));

const oddNumber = fc.constantFrom(
  -1,
  0,
  1,
  0.5,
  512,
  4095,
  65536,
  2 ** 31,
  2 ** 53 - 1,
  2 ** 53,
  1e300,
  -(2 ** 40),
);

const anyJson: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, [], {}, [[]], { toString: 1 }, { ['__proto__']: { a: 1 } }),
  oddNumber,
  harmlessText,
  fc.array(fc.oneof(oddNumber, harmlessText), { maxLength: 4 }),
  fc.dictionary(harmlessText, fc.oneof(oddNumber, harmlessText), { maxKeys: 4 }),
);

export class RandomRequests {
  readonly #document: OpenApiDocument;
  readonly #known: KnownTexts;

  constructor(document: OpenApiDocument, known: KnownTexts) {
    this.#document = document;
    this.#known = known;
  }

  /** Requests to every route, each as often as any other. */
  arbitrary(): fc.Arbitrary<RandomRequest> {
    const routes = Object.entries(this.#document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, route]) => this.#request(path, method, route)),
    );
    return fc.oneof(...routes);
  }

  #request(path: string, method: string, route: Route): fc.Arbitrary<RandomRequest> {
    const parameters = route.parameters ?? [];
    const schema = route.requestBody?.content['application/json']?.schema;
    return fc.record({
      method: fc.constant(method.toUpperCase()),
      path: this.#path(path, parameters),
      headers: this.#headers(schema !== undefined),
      body: this.#body(schema),
    });
  }

  #path(path: string, parameters: readonly Parameter[]): fc.Arbitrary<string> {
    const inPath = parameters.filter((parameter) => parameter.in === 'path');
    const inQuery = parameters.filter((parameter) => parameter.in === 'query');
    const names = fc.record(
      Object.fromEntries(inPath.map(({ name }) => [name, this.#text(fieldOf(path, name))])),
    );
    const query = fc.record(
      Object.fromEntries(inQuery.map(({ name, schema }) => [name, this.#value(schema, name)])),
      { requiredKeys: [] },
    );
    return fc.tuple(names, query).map(([texts, values]) => {
      const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => escaped(texts[name] ?? ''));
      const pairs = Object.entries(values).map(
        ([name, value]) =>
          `${name}=${escaped(typeof value === 'string' ? value : JSON.stringify(value))}`,
      );
      return pairs.length === 0 ? filled : `${filled}?${pairs.join('&')}`;
    });
  }

  #headers(hasBody: boolean): fc.Arbitrary<Record<string, string>> {
    const json = hasBody ? { 'content-type': 'application/json' } : {};
    const odd: Record<string, string>[] = [
      { 'if-match': '*' },
      { 'if-match': '"x"' },
      { 'idempotency-key': 'same' },
      { 'idempotency-key': '' },
      { 'content-type': 'text/plain' },
      { 'content-type': 'application/json; charset=utf-16' },
      { accept: 'application/json' },
    ];
    return fc.oneof(
      { weight: 4, arbitrary: fc.constant(json) },
      fc.constantFrom(...odd).map((header) => ({ ...json, ...header })),
    );
  }

  #body(schema: Schema | undefined): fc.Arbitrary<string | undefined> {
    const broken = fc.constantFrom(
      '{',
      '',
      'nul',
      '{"a":1,}',
      '[['.repeat(5000),
      '"\ud800"',
      '\u0000',
    );
    if (schema === undefined) return fc.constant(undefined);
    return fc.oneof(
      { weight: 8, arbitrary: this.#value(schema, '').map((value) => JSON.stringify(value)) },
      anyJson.map((value) => JSON.stringify(value)),
      broken,
    );
  }

  #value(schema: Schema, field: string): fc.Arbitrary<unknown> {
    return fc.oneof({ weight: 9, arbitrary: this.#fitting(schema, field) }, anyJson);
  }

  #fitting(schema: Schema, field: string): fc.Arbitrary<unknown> {
    if (schema.const !== undefined) return fc.constant(schema.const);
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    if (schema.anyOf !== undefined) {
      return fc.oneof(...schema.anyOf.map((one) => this.#fitting(one, field)));
    }
    switch (schema.type) {
      case 'object':
        return this.#object(schema);
      case 'array':
        return fc.array(this.#value(schema.items ?? {}, field), { maxLength: 3 });
      case 'integer':
      case 'number':
        return fc.oneof(
          fc.integer({ min: Math.ceil(schema.minimum ?? 0), max: 100_000 }),
          fc.constantFrom(65_536, 1_048_576),
          oddNumber,
        );
      case 'boolean':
        return fc.boolean();
      case 'string':
        return this.#text(field);
      default:
        return anyJson;
    }
  }

  #object({ properties = {}, required = [], additionalProperties }: Schema): fc.Arbitrary<unknown> {
    const fields: Record<string, fc.Arbitrary<unknown>> = {};
    for (const [name, schema] of Object.entries(properties)) {
      fields[name] = this.#value(schema, name);
    }
    const own = fc.record(fields, { requiredKeys: [...required] });
    if (typeof additionalProperties !== 'object') return own;
    return fc.dictionary(harmlessText, this.#value(additionalProperties, ''), { maxKeys: 3 });
  }

  #text(field: string): fc.Arbitrary<string> {
    const known = this.#known(field);
    if (known.length === 0) return harmlessText;
    return fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...known) }, harmlessText);
  }
}

/** `name` of a pool is another one than of a volume. */
function fieldOf(path: string, parameter: string): string {
  return parameter === 'name' ? (path.split('/')[2] ?? '') : parameter;
}

/** As a client would, and lone surrogates as they come. */
function escaped(text: string): string {
  return isWholeText(text) ? encodeURIComponent(text) : '%ED%A0%80';
}
