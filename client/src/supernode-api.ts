import { DrakkarError, ERROR_CODES, type ErrorCode } from '@drakkar/errors';
import createClient, { type Client } from 'openapi-fetch';
import { exchange } from './exchange.ts';
import type { components, paths } from './messages/supernode-api.ts';

/** The supernode's API: `api.GET('/api/v1/jobs', { params: { query: { limit: 10 } } })`. What goes wrong is thrown. */
export type SupernodeApi = Client<paths>;
type Documents = components['schemas'];

export type SupernodeStatus = Documents['Status'];
export type SwarmHost = Documents['Host'];
export type SwarmBlob = Documents['Blob'];
export type ClusterSnapshotSummary = Documents['Snapshot'];
export type JobDocument = Documents['Job'];
export type JobSpecInput = Documents['JobSpecInput'];
export type OverviewDocument = Documents['Overview'];
export type PolicyDocument = Documents['Policy'];
export type HostWorkDocument = Documents['HostWork'];
export type TokenDocument = Documents['Token'];
type ProblemDocument = Documents['Problem'];

/** Where a supernode is: on this host, or elsewhere. */
export type SupernodePlace =
  | { readonly socketPath: string }
  | {
      readonly url: string;
      readonly token: string;
      /** sha256 of the public key that it must have in TLS: who knows that need trust nobody else. */
      readonly pin?: string | undefined;
    };

/** @throws (each call) what the supernode says; `unavailable` where none answers */
export function supernodeApi(place: SupernodePlace): SupernodeApi {
  const isHere = 'socketPath' in place;
  const api = createClient<paths>({
    baseUrl: isHere ? 'http://supernode' : place.url,
    headers: isHere ? {} : { authorization: `Bearer ${place.token}` },
    fetch: (request) => (isHere ? overSocket(place.socketPath, request) : overNetwork(place, request)),
  });
  api.use({
    async onResponse({ response }) {
      if (!response.ok) throw errorOf(response.status, await response.text());
    },
  });
  return api;
}

/** More than any list of a supernode has. */
const MAX_PAGES = 100_000;

/** Everything in a list, page by page. @throws `unavailable` for a list that has no end */
export async function* pagesOf<Item>(
  page: (
    after: string | undefined,
  ) => Promise<{ readonly items: readonly Item[]; readonly next: string | null }>,
): AsyncGenerator<Item, void, undefined> {
  const seen = new Set<string>();
  for (let after: string | null | undefined; after !== null; ) {
    const { items, next }: { items: readonly Item[]; next: string | null } = await page(after);
    yield* items;
    if (next !== null && (seen.has(next) || seen.size >= MAX_PAGES)) {
      throw new DrakkarError('unavailable', 'the supernode’s list does not end', {
        hint: 'try again; where it stays so, update the supernode',
      });
    }
    if (next !== null) seen.add(next);
    after = next;
  }
}

async function overSocket(socketPath: string, request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const text = await request.text();
  try {
    const { status, body } = await exchange({
      socketPath,
      method: request.method,
      path: pathname + search,
      ...(text === '' ? {} : { body: JSON.parse(text) as object }),
      signal: request.signal,
    });
    return new Response(status === 204 ? null : ReadableStream.from(body), {
      status,
      headers: { 'content-type': 'application/json' },
    });
  } catch (error) {
    if (!(error instanceof DrakkarError) || error.code !== 'unavailable') throw error;
    throw new DrakkarError('unavailable', `no supernode answers at ${socketPath}`, {
      hint: 'start one with `drakkar supernode`, name its file with --config, or say where it is with `drakkar login URL`',
      cause: error,
    });
  }
}

async function overNetwork(
  { url, pin }: Extract<SupernodePlace, { url: string }>,
  request: Request,
): Promise<Response> {
  try {
    if (pin === undefined) return await fetch(request);
    const { pinnedFetch } = await import('./pinned-fetch.ts');
    return await pinnedFetch(request, pin);
  } catch (cause) {
    if (request.signal.aborted) throw new DrakkarError('cancelled', 'the call was cancelled', { cause });
    if (cause instanceof DrakkarError) throw cause;
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const message = inner instanceof Error ? inner.message : String(inner);
    throw new DrakkarError('unavailable', `no supernode answers at ${url}: ${message}`, {
      hint: 'check the address; where its certificate is its own, `drakkar login` needs its --pin',
      cause,
    });
  }
}

function errorOf(status: number, text: string): DrakkarError {
  try {
    const { code, detail, hint, traceId } = JSON.parse(text) as ProblemDocument;
    const known: ErrorCode | undefined = ERROR_CODES.find((each) => each === code);
    const details = traceId === undefined ? {} : { traceId };
    if (known !== undefined) return new DrakkarError(known, detail, { hint, details });
  } catch {
    // No problem document: what answers is no supernode.
  }
  return new DrakkarError('unavailable', `what answers is no supernode: ${status} ${text.slice(0, 200)}`);
}
