/**
 * The document at the beginning of a backup stream: which snapshot it carries, and on top of which one.
 *
 * It comes from outside: whatever is not exactly what it must be is refused before anything is made of it.
 */
import { StorageError } from '../base/errors.ts';
import type { Identity, SnapshotPassport } from '../snapshot/passport.ts';
import { expectVolumeSize } from '../volume/volume-size.ts';

export interface BackupHeader {
  /** Where it was sent from, for people. */
  readonly origin: { readonly pool: Identity; readonly volume: Identity };
  readonly snapshot: SnapshotPassport;
  /** What an increment goes on top of; null: the stream has everything. */
  readonly base: Identity | null;
}

/** More than a uuid and a number take. */
const uuidCharsMax = 128;
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;

type Fields = Readonly<Record<string, unknown>>;

/** @throws StorageError backup/damaged */
export function parseHeader(text: string): BackupHeader {
  const { origin, snapshot, base } = fieldsOf(parsed(text), 'its header');
  const from = fieldsOf(origin, 'origin');
  return {
    origin: {
      pool: identityOf(fieldsOf(from.pool, 'pool')),
      volume: identityOf(fieldsOf(from.volume, 'volume')),
    },
    snapshot: passportOf(fieldsOf(snapshot, 'snapshot')),
    base: base === null ? null : identityOf(fieldsOf(base, 'base')),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed('its header is no JSON');
  }
}

function identityOf(fields: Fields): Identity {
  const [uuid, name] = [textOf(fields, 'uuid'), textOf(fields, 'name')];
  if (uuid === '' || uuid.length > uuidCharsMax) throw malformed('uuid');
  return { uuid, name };
}

function passportOf(fields: Fields): SnapshotPassport {
  const { consistency } = fields;
  if (consistency !== 'crash' && consistency !== 'quiesced') throw malformed('consistency');
  const { note, attachment, labels } = fields;
  return {
    ...identityOf(fields),
    sizeBytes: sizeOf(fields.sizeBytes),
    createdAt: timeOf(fields.createdAt),
    consistency,
    ...(note === undefined ? {} : { note: textOf(fields, 'note') }),
    ...(attachment === undefined ? {} : { attachment: textOf(fields, 'attachment') }),
    ...(labels === undefined ? {} : { labels: labelsOf(labels) }),
  };
}

function sizeOf(value: unknown): number {
  if (typeof value !== 'number') throw malformed('sizeBytes');
  try {
    expectVolumeSize(value);
  } catch {
    throw malformed('sizeBytes');
  }
  return value;
}

function timeOf(value: unknown): string {
  if (typeof value === 'string' && timePattern.test(value)) return value;
  throw malformed('createdAt');
}

function labelsOf(value: unknown): Readonly<Record<string, string>> {
  const labels = fieldsOf(value, 'labels');
  return Object.fromEntries(Object.keys(labels).map((key) => [key, textOf(labels, key)]));
}

function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(name);
  return value as Fields;
}

function textOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw malformed(name);
  return value;
}

function malformed(what: string): StorageError {
  return new StorageError('backup/damaged', `the stream's header is malformed: ${what}`);
}
