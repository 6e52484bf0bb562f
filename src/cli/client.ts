/**
 * REST over a unix socket or TCP, with node:http alone: the command starts fast.
 */
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { ProblemDocument } from '../api/schemas.ts';
import { CommandError, problemError, usageError } from './errors.ts';

export const defaultServer = 'unix:/run/varve/varve.sock';

export interface Call {
  readonly method?: 'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE';
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: object;
  /** In place of a document. */
  readonly bytes?: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer<T> {
  readonly status: number;
  readonly document: T;
}

interface Page {
  readonly items: readonly unknown[];
  readonly next_page_token?: string;
}

export class Client {
  readonly #server: string;
  readonly #target: RequestOptions;

  /**
   * @param server `unix:PATH` or `http://HOST:PORT`
   * @throws CommandError request/invalid it is neither
   */
  constructor(server: string) {
    this.#server = server;
    this.#target = targetOf(server);
  }

  /**
   * @returns the document answered
   * @throws CommandError the service's problem, or that no service answers
   */
  async call<T>(path: string, call: Call = {}): Promise<Answer<T>> {
    const response = await this.#send(path, call);
    const text = await textOf(response);
    const status = response.statusCode ?? 0;
    if (status >= 400) throw problemError(parsed<ProblemDocument>(text));
    return { status, document: parsed<T>(text) };
  }

  async get<T>(path: string, query: Call['query'] = {}): Promise<T> {
    return (await this.call<T>(path, { query })).document;
  }

  /** A list with all of its pages. */
  async list<T extends Page>(path: string, query: Call['query'] = {}): Promise<T> {
    const first = await this.get<T>(path, query);
    const items = [...first.items];
    let token = first.next_page_token;
    while (token !== undefined) {
      const page: Page = await this.get<T>(path, { ...query, page_token: token });
      items.push(...page.items);
      token = page.next_page_token;
    }
    const { next_page_token: _, ...whole } = first;
    return { ...whole, items } as unknown as T;
  }

  /** Bytes that are no document. @throws CommandError as `call` */
  async put(path: string, query: NonNullable<Call['query']>, bytes: Uint8Array): Promise<void> {
    await this.call(path, { method: 'PUT', query, bytes });
  }

  /** An answer that is read as it comes. */
  async open(path: string, call: Call): Promise<IncomingMessage> {
    const response = await this.#send(path, call);
    if ((response.statusCode ?? 0) < 400) return response;
    throw problemError(parsed<ProblemDocument>(await textOf(response)));
  }

  #send(path: string, call: Call): Promise<IncomingMessage> {
    const document = call.body === undefined ? undefined : JSON.stringify(call.body);
    const payload = call.bytes ?? document;
    const type = call.bytes === undefined ? 'application/json' : 'application/octet-stream';
    const content = payload === undefined ? {} : { 'content-type': type };
    return new Promise((resolve, reject) => {
      const sent: ClientRequest = request(
        {
          ...this.#target,
          method: call.method ?? 'GET',
          path: path + queryText(call.query ?? {}),
          headers: { ...content, ...call.headers },
        },
        resolve,
      );
      sent.once('error', (error: NodeJS.ErrnoException) => reject(this.#unreachable(error)));
      sent.end(payload);
    });
  }

  #unreachable(error: NodeJS.ErrnoException): CommandError {
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      return new CommandError('service/not-permitted', `not permitted to use ${this.#server}`, 5, [
        'run it as root, or as a member of the group that owns the socket',
      ]);
    }
    const reason = error.code ?? error.message;
    return new CommandError(
      'service/unreachable',
      `no service answers at ${this.#server} (${reason})`,
      20,
      [
        'systemctl start varve, or varve serve --state DIR',
        'name another address with --server unix:PATH or VARVE_SERVER',
      ],
    );
  }
}

/** A path of REST with its variable parts encoded. */
export function path(strings: TemplateStringsArray, ...parts: string[]): string {
  return String.raw({ raw: strings }, ...parts.map(encodeURIComponent));
}

function targetOf(server: string): RequestOptions {
  if (server.startsWith('unix:')) return { socketPath: server.slice('unix:'.length) };
  if (server.startsWith('http://') && URL.canParse(server)) {
    const { hostname, port } = new URL(server);
    return { host: hostname, port };
  }
  throw usageError(`${server} is no address of a service`, [
    'write it as unix:/path/of/varve.sock or http://HOST:PORT',
  ]);
}

function queryText(query: NonNullable<Call['query']>): string {
  const set = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== false) set.set(key, String(value));
  }
  return set.size === 0 ? '' : `?${set}`;
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk as string;
  return text;
}

function parsed<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new CommandError('service/internal', 'what answers is no varve service', 1, [
      'check the address: --server, VARVE_SERVER',
    ]);
  }
}
