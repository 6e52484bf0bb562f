/**
 * Lists in pages: `limit` and `page_token`. Pure.
 *
 * A token is the key of the last item given, not its place: what is created or deleted between two pages neither
 * repeats nor hides another item.
 */
import { Type } from 'typebox';

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
  const sorted = [...items].sort((a, b) => compare(keyOf(a), keyOf(b)));
  const rest = after === undefined ? sorted : sorted.filter((item) => keyOf(item) > after);
  const chosen = rest.slice(0, limit);
  const last = chosen.at(-1);
  if (last === undefined || chosen.length === rest.length) return { items: chosen };
  return { items: chosen, next_page_token: keyOf(last) };
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** A number as a key: text that sorts as the number does. */
export function padded(number: number): string {
  return String(number).padStart(16, '0');
}
