import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { DrakkarError } from '@drakkar/protocol';
import type { UpstreamOptions } from './options.ts';

/** Where Docker Hub's API lives, which nobody writes in a reference. Source: distribution/reference, containerd. */
const ENDPOINTS: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' };

/** `*` matches any run of characters; everything else itself, in any case unless `exact`. */
export function matchesGlob(glob: string, text: string, letters: 'any case' | 'exact' = 'any case'): boolean {
  const pattern = glob
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${pattern}$`, letters === 'exact' ? '' : 'i').test(text);
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
const PRIVATE_IPV4 = [
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
] as const;
const PRIVATE_IPV6 = [
  ['::', 96],
  ['::ffff:0:0:0', 96],
  ['64:ff9b:1::', 48],
  // Teredo carries any IPv4 address. Source: RFC 4380.
  ['2001::', 32],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const;

const PRIVATE = new BlockList();
for (const [network, bits] of PRIVATE_IPV4) {
  PRIVATE.addSubnet(network, bits, 'ipv4');
  // What a translator or a tunnel takes for that network. Source: RFC 6052 (NAT64), RFC 3056 (6to4).
  const [a = 0, b = 0, c = 0, d = 0] = network.split('.').map(Number);
  const hex = `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  PRIVATE.addSubnet(`64:ff9b::${hex}`, 96 + bits, 'ipv6');
  PRIVATE.addSubnet(`2002:${hex}::`, 16 + bits, 'ipv6');
}
for (const [network, bits] of PRIVATE_IPV6) PRIVATE.addSubnet(network, bits, 'ipv6');

/** IPv4 addresses mapped into IPv6 count as what they are. */
export function isPrivateAddress(address: string): boolean {
  // An interface's name behind an address says where to send, not where it is.
  const [bare = ''] = address.split('%');
  const family = isIP(bare);
  return family !== 0 && PRIVATE.check(bare, family === 6 ? 'ipv6' : 'ipv4');
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
