import type { ServerResponse } from 'node:http';
import { type DrakkarError, isDrakkarError, toDrakkarError } from '@drakkar/protocol';

/** What every answer carries; containerd and Docker look for it. */
const COMMON = { 'docker-distribution-api-version': 'registry/2.0' };

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly challenge?: string;
}

/**
 * How containerd is told: a 401 with the registry's own challenge, a 403, a 404 for "not here"; 502 for everything else, which
 * makes it go on to the next host. Never 408, 429, 500, 503 or 504: those it would retry on the mirror.
 */
export function refusalFor(error: DrakkarError): Refusal {
  const { challenge } = error.details;
  if (error.code === 'unauthorized' && typeof challenge === 'string') {
    return { status: 401, code: 'UNAUTHORIZED', challenge };
  }
  if (error.code === 'unauthorized' || error.code === 'forbidden') return { status: 403, code: 'DENIED' };
  if (error.code === 'not_found') return { status: 404, code: 'NOT_FOUND' };
  return { status: 502, code: 'UNAVAILABLE' };
}

export function refuse(response: ServerResponse, thrown: unknown): void {
  const error = toDrakkarError(thrown);
  const { status, code, challenge } = refusalFor(error);
  const body = JSON.stringify({ errors: [{ code, message: error.message }] });
  response.writeHead(status, {
    ...COMMON,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...(challenge === undefined ? {} : { 'www-authenticate': challenge }),
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

export function notHere(response: ServerResponse, status = 404, headers: Record<string, string> = {}): void {
  response.writeHead(status, { ...COMMON, 'content-length': 0, ...headers });
  response.end();
}

/** Headers of content, and its status: 206 when they have a `content-range`. */
export function announce(response: ServerResponse, headers: Readonly<Record<string, string | number>>): void {
  response.writeHead('content-range' in headers ? 206 : 200, { ...COMMON, ...headers });
}

/** An ordinary end of affairs, that needs no warning in the log. */
export function isExpected(error: unknown): boolean {
  return (
    isDrakkarError(error, 'not_found') ||
    isDrakkarError(error, 'unauthorized') ||
    isDrakkarError(error, 'forbidden') ||
    isDrakkarError(error, 'cancelled')
  );
}
