/**
 * What every verb is given: the service, where output goes, and the global options.
 *
 * stdout is data, stderr is talk: `say` is for people and `-q` silences it.
 */
import { formatSize } from '../base/size.ts';
import { Client, defaultServer } from './client.ts';
import { parseDuration } from './duration.ts';

export interface GlobalOptions {
  readonly server?: string;
  readonly output: 'table' | 'wide' | 'json' | 'name';
  readonly exact?: boolean;
  readonly header: boolean;
  readonly quiet?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly wait: boolean;
  readonly timeout?: string;
  readonly progress?: 'json' | 'none';
}

export class Context {
  readonly client: Client;
  /** As given, for hints that can be copied. */
  readonly server: string;
  readonly timeoutMs: number | undefined;

  constructor(readonly options: GlobalOptions) {
    this.server = options.server ?? process.env.VARVE_SERVER ?? defaultServer;
    this.client = new Client(this.server);
    this.timeoutMs = options.timeout === undefined ? undefined : parseDuration(options.timeout);
  }

  get json(): boolean {
    return this.options.output === 'json';
  }

  /** For people: `table` or `wide`. */
  get isTable(): boolean {
    return this.options.output === 'table' || this.options.output === 'wide';
  }

  /** For `-n`: the query that makes the service only check. */
  get dryRun(): { dry_run: boolean | undefined } {
    return { dry_run: this.options.dryRun };
  }

  write(text: string): void {
    process.stdout.write(text);
  }

  say(text: string): void {
    if (!this.options.quiet) process.stderr.write(`${text}\n`);
  }

  /** Exact bytes with `-p`. */
  size(bytes: number): string {
    return this.options.exact ? String(bytes) : formatSize(bytes);
  }
}
