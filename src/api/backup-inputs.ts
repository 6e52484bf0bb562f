/**
 * Operations that receive what is sent to them, by their ids, for as long as they read.
 */
import { PushedSource } from '../backup/pushed-source.ts';
import { StorageError } from '../base/errors.ts';
import type { OperationContext, OperationSpec, Operations } from './operations.ts';
import type { OperationItem } from './schemas.ts';

export class BackupInputs {
  readonly #operations: Operations;
  readonly #sources = new Map<string, PushedSource>();

  constructor(operations: Operations) {
    this.#operations = operations;
  }

  /** Begins an operation that reads what `push` is given. */
  begin(
    spec: OperationSpec,
    work: (source: PushedSource, context: OperationContext) => Promise<void>,
  ): OperationItem {
    this.#forgetEnded();
    const source = new PushedSource();
    const item = this.#operations.start(spec, (context) => readBy(source, context, work));
    this.#sources.set(item.id, source);
    return item;
  }

  /** Resolves when the part has been read. @throws StorageError op/not-found, request/precondition; op/state it reads no more, or never did */
  async push(id: string, offset: number, part: Uint8Array, isLast: boolean): Promise<void> {
    const { state } = this.#operations.get(id);
    const source = this.#sources.get(id);
    if (source === undefined || source.isClosed) {
      throw new StorageError('op/state', `operation ${id} (${state}) reads nothing`, {
        actions: [`varve op show ${id}`],
      });
    }
    await source.push(offset, part, isLast);
  }

  #forgetEnded(): void {
    for (const [id, source] of this.#sources) if (source.isClosed) this.#sources.delete(id);
  }
}

async function readBy(
  source: PushedSource,
  context: OperationContext,
  work: (source: PushedSource, context: OperationContext) => Promise<void>,
): Promise<void> {
  const { signal } = context;
  const stop = () => source.fail(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await work(source, context);
  } finally {
    signal.removeEventListener('abort', stop);
    source.fail(new StorageError('op/state', 'the operation has ended'));
  }
}
