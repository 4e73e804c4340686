import { isIP } from 'node:net';
import { DrakkarError } from '@drakkar/errors';
import { type PeerId, parsePeerId } from './identity.ts';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Labels of letters, digits and hyphens, of which the last is no number: `999.1.1.1` is neither an address nor a name. Each text fits
 * in one way only, so that none takes long to refuse.
 */
const NAME_PATTERN =
  /^(?=.{1,253}$)(?!(?:.*\.)?[0-9]+\.?$)[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63})*\.?$/;
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

/** Where the supernode is, and who it must prove to be: `host:port/PEER`. */
export interface SupernodeAddress {
  readonly at: HostPort;
  readonly peer: PeerId;
}

/** @throws `invalid_argument` */
export function parseSupernodeAddress(text: string): SupernodeAddress {
  const slash = text.lastIndexOf('/');
  if (slash < 0) {
    throw new DrakkarError('invalid_argument', `${JSON.stringify(text)} names no supernode`, {
      hint: 'write host:port/PEER, as `drakkar supernode token` prints it',
    });
  }
  return { at: parseHostPort(text.slice(0, slash)), peer: parsePeerId(text.slice(slash + 1)) };
}
