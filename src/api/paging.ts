/**
 * Lists in pages: `limit` and `page_token`. Pure.
 *
 * A token is the key of the last item given, not its place: what is created or deleted between two pages neither
 * repeats nor hides another item.
 */
import { Type } from 'typebox';
import { compareText } from '../base/names.ts';

export const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'items per page' })),
  page_token: Type.Optional(
    Type.String({ maxLength: 200, description: '`next_page_token` of the page before' }),
  ),
});

export interface PageRequest {
  readonly limit?: number | undefined;
  readonly page_token?: string | undefined;
}

const limitDefault = 1000;

/** @param keyOf unique in the list; items come in its order */
export function page<T>(items: readonly T[], keyOf: (item: T) => string, request: PageRequest) {
  const { limit = limitDefault, page_token: after } = request;
  const keyed = items.map((item) => ({ key: keyOf(item), item }));
  const rest = after === undefined ? keyed : keyed.filter(({ key }) => key > after);
  const chosen = rest.sort((a, b) => compareText(a.key, b.key)).slice(0, limit);
  const page = { items: chosen.map(({ item }) => item) };
  const last = chosen.at(-1);
  if (last === undefined || chosen.length === rest.length) return page;
  return { ...page, next_page_token: last.key };
}

/** A number as a key: text that sorts as the number does. */
export function padded(number: number): string {
  return String(number).padStart(16, '0');
}
