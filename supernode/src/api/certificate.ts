import 'reflect-metadata';
import { createHash, createPrivateKey, createPublicKey, webcrypto, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';

/** What the API shows in TLS, in PEM. */
export interface ServerCertificate {
  readonly key: string;
  readonly cert: string;
  /** sha256 of its public key, by which a client may know it: it stays the same when the certificate is renewed. */
  readonly pin: string;
}

const DAY_MS = 24 * 60 * 60_000;
const LIFETIME_MS = 365 * DAY_MS;
const RENEWED_BEFORE_MS = 60 * DAY_MS;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Files that somebody else looks after. @throws `invalid_argument` for what is no certificate with its key */
export async function readCertificate(certificateFile: string, keyFile: string): Promise<ServerCertificate> {
  try {
    const [cert, key] = await Promise.all([certificateFile, keyFile].map((path) => readFile(path, 'utf8')));
    return certificate(key ?? '', cert ?? '');
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new DrakkarError('invalid_argument', `the API’s certificate can't be used: ${message}`, {
      hint: 'check api.tls.certificateFile and api.tls.keyFile of the configuration',
      cause,
    });
  }
}

/** One that signs itself: made once, and renewed with the same key sixty days before it ends. Clients must be told its {@link ServerCertificate.pin}. */
export async function ownCertificate(
  directory: string,
  address: string,
  nowMs = Date.now(),
): Promise<ServerCertificate> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const [keyPath, certPath] = [join(directory, 'api.key.pem'), join(directory, 'api.cert.pem')];
  const [key, cert] = await Promise.all([keyPath, certPath].map(readIfThere));
  // A certificate of another key is made anew.
  if (key !== undefined && cert !== undefined && isPair(key, cert)) {
    const known = certificate(key, cert);
    if (Date.parse(new X509Certificate(cert).validTo) - nowMs > RENEWED_BEFORE_MS) return known;
  }
  const { pem, keys } = await keysOf(key);
  const names = [...new Set([hostname(), 'localhost', '127.0.0.1', '::1', address])];
  const made = await X509CertificateGenerator.createSelfSigned({
    serialNumber: nowMs.toString(16).padStart(16, '0'),
    name: 'CN=Drakkar',
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + LIFETIME_MS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new SubjectAlternativeNameExtension(
        names
          .filter((name) => name !== '0.0.0.0' && name !== '::')
          .map((name) => ({
            type: /^[\d.]+$|:/.test(name) ? ('ip' as const) : ('dns' as const),
            value: name,
          })),
      ),
    ],
  });
  if (key === undefined) await writeWhole(keyPath, pem);
  await writeWhole(certPath, made.toString('pem'));
  return certificate(pem, made.toString('pem'));
}

async function keysOf(pem: string | undefined): Promise<{ pem: string; keys: webcrypto.CryptoKeyPair }> {
  const { subtle } = webcrypto;
  if (pem === undefined) {
    const keys = await subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const der = Buffer.from(await subtle.exportKey('pkcs8', keys.privateKey));
    const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
    return { pem: `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`, keys };
  }
  const der = (type: 'pkcs8' | 'spki') =>
    type === 'pkcs8'
      ? createPrivateKey(pem).export({ type, format: 'der' })
      : createPublicKey(pem).export({ type, format: 'der' });
  const privateKey = await subtle.importKey('pkcs8', der('pkcs8'), ALGORITHM, true, ['sign']);
  const publicKey = await subtle.importKey('spki', der('spki'), ALGORITHM, true, ['verify']);
  return { pem, keys: { privateKey, publicKey } };
}

const isPair = (key: string, cert: string): boolean =>
  new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));

function certificate(key: string, cert: string): ServerCertificate {
  if (!isPair(key, cert)) throw new Error('the certificate is of another key');
  const { publicKey } = new X509Certificate(cert);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return { key, cert, pin: `sha256:${createHash('sha256').update(spki).digest('hex')}` };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}
