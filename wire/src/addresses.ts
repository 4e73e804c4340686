import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { HostPort, PeerId } from '@drakkar/protocol';

/** As libp2p writes it. Source: multiformats/multiaddr, protocols.csv. */
export function multiaddrOf({ host, port }: HostPort, peer?: PeerId): string {
  const kind = { 4: 'ip4', 6: 'ip6' }[isIP(host)] ?? 'dns';
  return `/${kind}/${host}/tcp/${port}${peer === undefined ? '' : `/p2p/${peer}`}`;
}

/** The address under which others most likely reach a server that listens on `host`. */
export function reachable(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outward = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const best = outward.find(({ family }) => family === 'IPv4') ?? outward[0];
  return best?.address ?? '127.0.0.1';
}
