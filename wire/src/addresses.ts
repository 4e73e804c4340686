import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { DrakkarError, type PeerId } from '@drakkar/protocol';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Labels of letters, digits and hyphens. */
const NAME_PATTERN = /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)*$/;
const HOST_PORT_PATTERN = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^:[\]]{1,253})):([0-9]{1,5})$/;

/** @throws `invalid_argument` for what is not `host:port` or `[IPv6]:port` */
export function parseHostPort(text: string): HostPort {
  const [, six, other, digits] = HOST_PORT_PATTERN.exec(text.slice(0, 300)) ?? [];
  const host = six ?? other ?? '';
  const port = Number(digits);
  const known = six === undefined ? isIP(host) === 4 || NAME_PATTERN.test(host) : isIP(host) === 6;
  if (known && port > 0 && port < 65_536) return { host, port };
  throw new DrakkarError(
    'invalid_argument',
    `${JSON.stringify(text.slice(0, 100))} is not an address; write it as host:port`,
  );
}

export function formatHostPort({ host, port }: HostPort): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

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
