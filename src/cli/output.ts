/**
 * Documents of the service, written in the format asked for.
 */
import type { PlanDocument, ResultDocument } from '../api/schemas.ts';
import type { Context } from './context.ts';
import { type Column, card, table } from './table.ts';

/** How one kind of document is shown. */
export interface View<T> {
  readonly columns: (context: Context) => readonly Column<T>[];
  /** For `-o name`. */
  readonly name: (item: T) => string;
}

export function writeJson(context: Context, document: object): void {
  context.write(`${JSON.stringify(document, undefined, 2)}\n`);
}

export function writeList<T>(
  context: Context,
  list: { readonly items: readonly T[] },
  view: View<T>,
): void {
  const { output, header } = context.options;
  if (output === 'json') writeJson(context, list);
  else if (output === 'name') writeNames(context, list.items.map(view.name));
  else {
    const options = { wide: output === 'wide', bare: !header };
    context.write(table(view.columns(context), list.items, options));
    if (list.items.length === 0 && header) context.say('none');
  }
}

export function writeOne<T extends object>(context: Context, document: T, view: View<T>): void {
  const { output, header } = context.options;
  if (output === 'json') writeJson(context, document);
  else if (output === 'name') writeNames(context, [view.name(document)]);
  else context.write(card(view.columns(context), document, { wide: true, bare: !header }));
}

/** What a changing verb answers: a sentence for people, the document for scripts. */
export function writeChange<T extends object, D extends T>(
  context: Context,
  document: D | PlanDocument,
  view: View<T>,
  sentence: (document: D) => string,
): void {
  if (isPlan(document)) writePlan(context, document);
  else if (context.options.output === 'table') context.say(sentence(document));
  else writeOne<T>(context, document, view);
}

/** A deletion leaves nothing to name. */
export function writeResult(
  context: Context,
  document: ResultDocument | PlanDocument,
  sentence: string,
): void {
  if (isPlan(document)) writePlan(context, document);
  else if (context.json) writeJson(context, document);
  else context.say(sentence);
}

function writePlan(context: Context, plan: PlanDocument): void {
  if (context.json) {
    writeJson(context, plan);
    return;
  }
  const effect = plan.changed ? `would ${plan.action}` : `nothing to do: ${plan.action}`;
  const copied = context.size(plan.copied_bytes);
  const freed = context.size(plan.freed_bytes);
  context.write(`${effect} ${plan.target} (${copied} to copy, ${freed} freed)\n`);
  const { expiring = [], affected = [] } = plan;
  if (plan.room_bytes !== undefined)
    context.write(`room for it: ${context.size(plan.room_bytes)}\n`);
  if (affected.length > 0) context.write(`moves data of: ${affected.join(', ')}\n`);
  for (const { name, clients } of plan.exports ?? []) {
    context.write(`export ${name} (${clients} clients) goes on serving, after a moment\n`);
  }
  if (expiring.length > 0) context.write(`would not keep any more: ${expiring.join(', ')}\n`);
}

function isPlan(document: object): document is PlanDocument {
  return (document as { kind?: string }).kind === 'Plan';
}

function writeNames(context: Context, names: readonly string[]): void {
  context.write(names.map((name) => `${name}\n`).join(''));
}
