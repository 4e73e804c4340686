import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryDirectory } from '../temporary.ts';
import { contentsOf } from './certificates.ts';
import type { ControlPlane } from './control-plane.ts';

export interface ApiRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly isWatch: boolean;
  /** As `performance.now()` has it. */
  readonly atMs: number;
}

/** What goes wrong with one request. */
export type ApiFault =
  /** It is not passed on, and answered with this. */
  | { readonly kind: 'refuse'; readonly code: number; readonly reason: string; readonly retryAfterS?: number }
  /** What is answered comes so late. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** The connection is cut after so long. */
  | { readonly kind: 'cut'; readonly afterMs: number }
  /** A watch that goes on from a moment that the server has forgotten. */
  | { readonly kind: 'gone' };

/** A hop before an API server on which things go wrong as a test wants it. */
export interface UnrulyApi extends AsyncDisposable {
  /** With which a client comes through here, as an administrator. */
  readonly kubeconfig: string;
  /** May be exchanged at any time; counts for requests that come later. */
  fault: (request: ApiRequest) => ApiFault | undefined;
  /** All so far, with what went wrong. */
  readonly seen: readonly (ApiRequest & { readonly fault: ApiFault | undefined })[];
}

type Config = Record<
  'clusters' | 'users',
  readonly { readonly cluster: Record<string, string>; readonly user: Record<string, string> }[]
>;

export async function startUnrulyApi(plane: Pick<ControlPlane, 'kubeconfig' | 'url'>): Promise<UnrulyApi> {
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(await temporaryDirectory('unruly-api'));
  const config = JSON.parse(await readFile(plane.kubeconfig, 'utf8')) as Config;
  const agent = stack.adopt(await agentOf(config), (each) => each.destroy());
  const seen: (ApiRequest & { readonly fault: ApiFault | undefined })[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url: path = '/' } = incoming;
    const request = { method, path, isWatch: /[?&]watch=true/.test(path), atMs: performance.now() };
    const fault = proxy.fault(request);
    seen.push({ ...request, fault });
    // Either side may go at any time.
    pass(plane.url + path, agent, { incoming, outgoing, fault }).catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  const kubeconfig = join(directory, 'kubeconfig');
  const here = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clusters = [{ name: 'lab', cluster: { server: here, 'insecure-skip-tls-verify': true } }];
  await writeFile(kubeconfig, JSON.stringify({ ...config, clusters, users: [{ name: 'user', user: {} }] }));
  const running = stack.move();
  const proxy: UnrulyApi = {
    ...{ kubeconfig, seen, fault: () => undefined },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  return proxy;
}

async function agentOf({ clusters, users }: Config): Promise<Agent> {
  const { 'client-certificate': cert = '', 'client-key': key = '' } = users[0]?.user ?? {};
  const ca = await readFile(clusters[0]?.cluster['certificate-authority'] ?? '');
  return new Agent({ keepAlive: true, ca, ...(await contentsOf({ cert, key })) });
}

interface Passing {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly fault: ApiFault | undefined;
}

async function pass(url: string, agent: Agent, { incoming, outgoing, fault }: Passing): Promise<void> {
  if (fault?.kind === 'refuse') {
    const { code, reason, retryAfterS } = fault;
    const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: reason };
    const more = retryAfterS === undefined ? {} : { 'retry-after': `${retryAfterS}` };
    outgoing.writeHead(code, { 'content-type': 'application/json', ...more }).end(JSON.stringify(status));
    return;
  }
  if (fault?.kind === 'gone') {
    const object = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 410, reason: 'Expired' };
    outgoing.writeHead(200, { 'content-type': 'application/json' });
    outgoing.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
    return;
  }
  const { method, headers } = incoming;
  const asking = httpsRequest(url, { method, headers, agent });
  outgoing.once('close', () => asking.destroy());
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    asking.once('response', resolve).once('error', reject);
  });
  const [answer] = await Promise.all([answered, pipeline(incoming, asking)]);
  if (fault?.kind === 'delay') await sleep(fault.ms);
  outgoing.writeHead(answer.statusCode ?? 502, answer.headers).flushHeaders();
  const cut = fault?.kind === 'cut' ? setTimeout(() => outgoing.destroy(), fault.afterMs) : undefined;
  await pipeline(answer, outgoing).finally(() => clearTimeout(cut));
}
