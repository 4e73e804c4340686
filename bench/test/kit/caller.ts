import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { loadSwarm } from '@drakkar/daemon';
import {
  type BlobName,
  type PeerId,
  peerIdFromRaw,
  peerIdOf,
  signGrants,
  signMembership,
} from '@drakkar/protocol';
import type { Fleet, FleetHost } from '../../src/fleet/fleet.ts';

/** Somebody with a key of a peer and what TLS wants to see of it. */
export interface Caller {
  readonly peer: PeerId;
  readonly key: KeyObject;
  readonly tls: ConnectionOptions;
}

export async function callerOf(key: KeyObject): Promise<Caller> {
  const { certificateFor } = await loadSwarm();
  const { certificate, key: pem } = await certificateFor(key);
  return { peer: peerIdOf(key), key, tls: { cert: certificate, key: pem } };
}

export const newCaller = (): Promise<Caller> => callerOf(generateKeyPairSync('ed25519').privateKey);

const readKey = async (path: string): Promise<KeyObject> => createPrivateKey(await readFile(path));

/** What only the supernode has. */
export const clusterKeyOf = (fleet: Fleet): Promise<KeyObject> =>
  readKey(join(fleet.supernode.stateDirectory, 'keys', 'cluster.pem'));

/** What only a host has. */
export const peerKeyOf = (host: FleetHost): Promise<KeyObject> =>
  readKey(join(host.stateDirectory, 'keys', 'peer.pem'));

const NOBODY = peerIdFromRaw(new Uint8Array(32));

/** As a supernode would sign them, or would not. */
export const grantOf = (peer: PeerId, blob: BlobName, key: KeyObject, livesMs = 60_000): string =>
  // Together with another's, as most are.
  signGrants(
    [peer, NOBODY].map((to) => ({ peer: to, ...blob, expiresAtMs: Date.now() + livesMs })),
    key,
  )[0] ?? '';

export const membershipOf = (peer: PeerId, key: KeyObject, livesMs = 60_000): string =>
  signMembership(
    { peer, name: 'caller', role: 'daemon', issuedAtMs: 0, expiresAtMs: Date.now() + livesMs },
    key,
  );

export interface Answer {
  /** Of all responses, in their order. */
  readonly statuses: readonly number[];
  readonly bytes: Buffer;
  /** Why the connection broke, where it did. */
  readonly error: string | undefined;
}

const ANSWERED_MS = 30_000;
/** Of this machine, and of none of its hosts: so many connections are let in from each address. */
const CALLER_ADDRESS = '127.0.0.66';

/** A connection to a host's server of pieces. */
export async function dial(port: number, tls: ConnectionOptions): Promise<TLSSocket> {
  const tcp = connectTcp({ host: '127.0.0.1', port, localAddress: CALLER_ADDRESS });
  const socket = connect({ socket: tcp, rejectUnauthorized: false, ...tls });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  return socket;
}

/** Writes these bytes, and reads until the server hangs up. */
export async function speak(
  port: number,
  tls: ConnectionOptions,
  bytes: Uint8Array | string,
): Promise<Answer> {
  const parts: Buffer[] = [];
  let error: string | undefined;
  let socket: TLSSocket;
  try {
    socket = await dial(port, tls);
  } catch (cause) {
    return { statuses: [], bytes: Buffer.alloc(0), error: String(cause) };
  }
  socket.on('data', (part) => parts.push(part));
  socket.on('error', (cause) => {
    error = String(cause);
  });
  socket.setTimeout(ANSWERED_MS, () => socket.destroy(new Error('nothing was said any more')));
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  const all = Buffer.concat(parts);
  const statuses = [...all.toString('latin1').matchAll(/HTTP\/1\.1 ([0-9]{3}) /g)].map(([, status]) =>
    Number(status),
  );
  return { statuses, bytes: all, error };
}

/** A head that asks for pieces, after whose answer the server hangs up. */
export const headOf = (
  target: string,
  authorization?: string,
  method = 'GET',
  end = 'connection: close\r\n',
): string =>
  `${method} ${target} HTTP/1.1\r\nhost: peer\r\n${authorization === undefined ? '' : `authorization: ${authorization}\r\n`}${end}\r\n`;

export const piecesOf = ({ digest, origin }: BlobName, range = '0-0'): string =>
  `/v1/blobs/${digest}/pieces/${range}?origin=${encodeURIComponent(origin)}`;

/** Bytes of memory that a process has. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(status)?.[1]) * 1024;
}
