/**
 * Errors on the wire: RFC 9457 `application/problem+json` with a stable `code`.
 *
 * Guarantees: everything thrown ends as one of errorCodes; a bug tells the caller nothing but that it is one (the log
 * has the rest); no stack trace leaves the process.
 */
import { type ErrorCode, errorCodes, StorageError } from '../base/errors.ts';
import { DataPlaneError } from '../dataplane/data-plane.ts';
import type { ProblemDocument } from './schemas.ts';

export const problemType = 'application/problem+json';

/** What fastify itself refuses, by its codes. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_VALIDATION: 'request/invalid',
  FST_ERR_CTP_BODY_TOO_LARGE: 'request/too-large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'request/invalid',
  FST_ERR_CTP_INVALID_JSON_BODY: 'request/invalid',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'request/invalid',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'request/invalid',
  FST_ERR_BAD_URL: 'request/not-found',
  FST_ERR_NOT_FOUND: 'request/not-found',
};

/** The storage error behind anything thrown; `service/internal` for what no request may cause. */
export function toStorageError(thrown: unknown): StorageError {
  if (thrown instanceof StorageError) return thrown;
  if (thrown instanceof DataPlaneError) {
    return new StorageError('disk/io', thrown.message, { cause: thrown });
  }
  const code = frameworkCodes[(thrown as { code?: string } | null)?.code ?? ''];
  if (code !== undefined) return new StorageError(code, (thrown as Error).message);
  return new StorageError('service/internal', 'the service met a fault of its own', {
    cause: thrown,
    actions: ['read the log of the service for the cause, and report it'],
  });
}

export function problemOf(error: StorageError): ProblemDocument {
  const { status } = errorCodes[error.code];
  return {
    type: `urn:varve:error:${error.code.replace('/', ':')}`,
    title: titleOf(error.code),
    status,
    detail: error.message,
    code: error.code,
    actions: [...error.actions],
  };
}

/** `volume/not-found` → `volume: not found`. */
function titleOf(code: string): string {
  return code.replace('/', ': ').replaceAll('-', ' ');
}
