import 'reflect-metadata';
import type { KeyObject } from 'node:crypto';
import { webcrypto } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { type PeerId, peerIdOf } from '@drakkar/protocol';
import { X509CertificateGenerator } from '@peculiar/x509';

/** What a peer shows in TLS: a certificate that it has signed itself. Only the key in it matters, since the key is who it is. */
export interface PeerCertificate {
  readonly key: string;
  readonly certificate: string;
}

const LIFETIME_MS = 100 * 365 * 24 * 60 * 60_000;

export async function certificateFor(key: KeyObject): Promise<PeerCertificate> {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const { x = '' } = key.export({ format: 'jwk' });
  const { subtle } = webcrypto;
  const privateKey = await subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign']);
  const publicKey = await subtle.importKey('jwk', { kty: 'OKP', crv: 'Ed25519', x }, 'Ed25519', true, [
    'verify',
  ]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: `CN=${peerIdOf(key)}`,
    // Clocks of hosts may be far off, and the key is pinned: the dates say nothing.
    notBefore: new Date(0),
    notAfter: new Date(Date.now() + LIFETIME_MS),
    keys: { privateKey, publicKey },
    signingAlgorithm: 'Ed25519',
  });
  return {
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: certificate.toString('pem'),
  };
}

/** Who is at the other end: TLS 1.3 has proven that it holds the key of its certificate. `undefined` for who is no peer. */
export function peerOf(socket: TLSSocket): PeerId | undefined {
  const known = PEERS.get(socket);
  if (known !== undefined) return known;
  try {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return undefined;
    const peer = peerIdOf(certificate.publicKey);
    PEERS.set(socket, peer);
    return peer;
  } catch {
    return undefined;
  }
}

/** A connection is asked at every request, and stays that peer's. */
const PEERS = new WeakMap<TLSSocket, PeerId>();
