import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { DrakkarError } from '@drakkar/protocol';
import type { UpstreamOptions } from './options.ts';

/** Where Docker Hub's API lives, which nobody writes in a reference. Source: distribution/reference, containerd. */
const ENDPOINTS: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' };

/** `*` matches any run of characters; everything else itself, in any case. */
export function matchesGlob(glob: string, text: string): boolean {
  const pattern = glob
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${pattern}$`, 'i').test(text);
}

function withoutPort(host: string): string {
  return host.replace(/:\d+$/, '');
}

/** Whether one of the patterns names this `host[:port]`, with its port or without. */
export function listed(patterns: readonly string[], host: string): boolean {
  return patterns.some((glob) => matchesGlob(glob, host) || matchesGlob(glob, withoutPort(host)));
}

/** Spoken to without TLS wherever they listen, as containerd and Docker do. */
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/**
 * The base URL of a registry's API.
 * @throws `forbidden` when the registry is not on the allowlist
 */
export function endpointOf(registry: string, options: Pick<UpstreamOptions, 'allow' | 'plainHttp'>): URL {
  if (!listed(options.allow, registry)) {
    throw new DrakkarError('forbidden', `registry ${registry} is not on the allowlist`, {
      hint: 'add it to registries.allow',
      details: { registry },
    });
  }
  const scheme = listed([...LOOPBACK, ...options.plainHttp], registry) ? 'http' : 'https';
  return new URL(`${scheme}://${ENDPOINTS[registry] ?? registry}`);
}

/** Addresses that are not on the public internet. Source: IANA special-purpose registries (RFC 6890). */
const PRIVATE = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  PRIVATE.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  PRIVATE.addSubnet(network, bits, 'ipv6');

/** IPv4 addresses mapped into IPv6 count as what they are. */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && PRIVATE.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

export function bareHostname(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** Whether a host is, or resolves to, a private address. A name that does not resolve is not. */
export async function isPrivateHost(url: URL): Promise<boolean> {
  const host = bareHostname(url);
  if (isIP(host) !== 0) return isPrivateAddress(host);
  try {
    return (await lookup(host, { all: true })).some(({ address }) => isPrivateAddress(address));
  } catch {
    return false;
  }
}
