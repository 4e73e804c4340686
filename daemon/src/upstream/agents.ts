import { type LookupAddress, lookup } from 'node:dns';
import { readFileSync } from 'node:fs';
import { type ClientRequest, Agent as HttpAgent, type AgentOptions as HttpAgentOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { LookupFunction } from 'node:net';
import { checkServerIdentity, getCACertificates, type PeerCertificate } from 'node:tls';
import { DrakkarError } from '@drakkar/protocol';
import { HttpProxyAgent } from 'http-proxy-agent';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { getProxyForUrl } from 'proxy-from-env';
import { isPrivateAddress } from './hosts.ts';
import type { UpstreamOptions } from './options.ts';

/** Keep-alive connections, bounded per host; through the proxy that the environment names for a URL. */
export interface Agents extends Disposable {
  /** `publicOnly` refuses to connect to a name that resolves to a private address. */
  for(url: URL, publicOnly: boolean): HttpAgent;
}

/** Resolves like the system, and refuses private answers at the moment of connecting, so that no second answer can differ. */
const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
    const first = addresses?.[0];
    const inside = error === null ? addresses.find(({ address }) => isPrivateAddress(address)) : undefined;
    if (error !== null || first === undefined) callback(error ?? new Error(`no address for ${hostname}`), '');
    else if (inside !== undefined) callback(refusal(hostname, inside.address), '');
    else if (options.all === true) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};

/** Code of the error with which a connection to a private address is refused; nothing else of it outlives `node-fetch`. */
export const PRIVATE_ADDRESS = 'ERR_DRAKKAR_PRIVATE_ADDRESS';

function refusal(hostname: string, address: string): NodeJS.ErrnoException {
  const error = new Error(`${hostname} is the private address ${address}`);
  return Object.assign(error, { code: PRIVATE_ADDRESS });
}

/**
 * `HttpsProxyAgent` uses its options for the connection to the proxy alone, and in the tunnel compares certificates of registries
 * that are named by an address with "localhost".
 */
class TunnelAgent extends HttpsProxyAgent<string> {
  readonly #authorities: string[] | undefined;

  constructor(proxy: string, options: HttpAgentOptions & { readonly ca?: string[] }) {
    super(proxy, options);
    this.#authorities = options.ca;
  }

  override connect(...[request, options]: Parameters<HttpsProxyAgent<string>['connect']>) {
    const host = options.host ?? '';
    const inside = {
      ...options,
      ...(this.#authorities === undefined ? {} : { ca: this.#authorities }),
      checkServerIdentity: (_: string, certificate: PeerCertificate) =>
        checkServerIdentity(host, certificate),
    };
    return super.connect(request, inside);
  }
}

/** @throws `invalid_argument` for a CA file that cannot be read */
export function createAgents(options: UpstreamOptions): Agents {
  const authorities = readAuthorities(options.caFiles);
  const shared = {
    keepAlive: true,
    maxSockets: options.connectionsPerHost,
    maxFreeSockets: options.connectionsPerHost,
    scheduling: 'lifo' as const,
    ...(authorities === undefined ? {} : { ca: authorities }),
  };
  const agents = new Map<string, HttpAgent>();
  const make = (secure: boolean, proxy: string, publicOnly: boolean): HttpAgent => {
    if (proxy !== '') return secure ? new TunnelAgent(proxy, shared) : new HttpProxyAgent(proxy, shared);
    const own = publicOnly ? { ...shared, lookup: publicLookup } : shared;
    return secure ? new HttpsAgent(own) : new HttpAgent(own);
  };
  return {
    for(url, publicOnly) {
      const secure = url.protocol === 'https:';
      const proxy = getProxyForUrl(url.href);
      const key = `${secure} ${publicOnly} ${proxy}`;
      let agent = agents.get(key);
      if (agent === undefined) {
        agent = make(secure, proxy, publicOnly);
        agents.set(key, agent);
      }
      return agent;
    },
    [Symbol.dispose]() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

/** Node's own way from a request to its agent. Source: lib/_http_agent.js, lib/_http_client.js. */
type Requesting = HttpAgent & {
  addRequest(request: ClientRequest, options: Parameters<HttpAgent['getName']>[0]): void;
};

/**
 * The agent for one request, of which it says when the registry's time begins: at once where a connection is free or may be
 * made, else when another request has given one back. That others use all connections is no fault of the registry.
 */
export function onceConnected(agent: HttpAgent, begin: () => void): HttpAgent {
  const real = agent as Requesting;
  const addRequest: Requesting['addRequest'] = (request, options) => {
    const used = real.sockets[real.getName(options)]?.length ?? 0;
    if (used < real.maxSockets) begin();
    else request.once('socket', begin);
    real.addRequest(request, options);
  };
  return Object.assign(Object.create(real) as HttpAgent, { addRequest });
}

function readAuthorities(files: readonly string[]): string[] | undefined {
  if (files.length === 0) return undefined;
  const own = files.map((file) => {
    try {
      return readFileSync(file, 'utf8');
    } catch (cause) {
      throw new DrakkarError('invalid_argument', `the CA file ${file} cannot be read`, {
        hint: 'correct registries.caFiles',
        cause,
      });
    }
  });
  return [...getCACertificates('default'), ...own];
}
