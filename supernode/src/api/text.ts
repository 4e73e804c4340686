import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';

const gzipped = promisify(gzip);
/** In one part: each would be a turn of the event loop. */
const PART_BYTES = 1024 * 1024;
const OPTIONS = { level: constants.Z_BEST_SPEED, chunkSize: PART_BYTES };

interface Written {
  readonly text: string;
  small?: Promise<Buffer>;
}

const written = new WeakMap<object, Written>();

/** Has a document that is given again and again, and stays as it is, written out once. */
export function writtenOnce<Document extends object>(document: Document): Document {
  written.set(document, { text: JSON.stringify(document) });
  return document;
}

export const textOf = (document: unknown): string =>
  (typeof document === 'object' && document !== null ? written.get(document)?.text : undefined) ??
  JSON.stringify(document);

/** Gives a large document that was {@link writtenOnce}, compressed once, to who can read that: it is a tenth then. */
export async function replySmall(
  request: FastifyRequest,
  reply: FastifyReply,
  document: object,
): Promise<void> {
  reply.header('vary', 'accept-encoding').type('application/json; charset=utf-8');
  const known = written.get(document);
  if (known !== undefined && acceptsGzip(request.headers['accept-encoding'])) {
    known.small ??= gzipped(known.text, OPTIONS);
    reply.header('content-encoding', 'gzip').send(await known.small);
  } else reply.send(document);
  await reply;
}

/** Source: RFC 9110, section 12.5.3. */
const acceptsGzip = (accepted: string | string[] | undefined): boolean =>
  String(accepted ?? '')
    .split(',')
    .map((each) => each.trim().toLowerCase())
    .some((each) => each === 'gzip' || (/^gzip\s*;\s*q=/.test(each) && !/=\s*0(\.0*)?$/.test(each)));
