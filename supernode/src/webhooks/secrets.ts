import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import type { HookKind } from './kinds.ts';
import type { DeliveryHeaders } from './shapes/shape.ts';

/**
 * How a sender shows that it knows the hook's secret.
 *
 * - `hmac`   `X-Hub-Signature-256: sha256=…`, the HMAC-SHA256 of the body's bytes in hex: nobody who listens learns the secret
 * - `header` `Authorization` is the secret, or `Bearer` and the secret
 * - `basic`  `Authorization: Basic …` whose password is the secret, whoever the user is
 */
export type Proof = 'hmac' | 'header' | 'basic';

/** What can be set up with each sender; any of them will do. */
export const PROOFS: Readonly<Record<HookKind, readonly Proof[]>> = {
  /** `notifications.endpoints[].headers`, or user information in its URL. */
  distribution: ['header', 'basic'],
  /** The policy's auth header, which is sent as it is written. */
  harbor: ['header', 'basic'],
  /** Nothing can be set but a URL, which may have user information. */
  'docker-hub': ['basic'],
  ghcr: ['hmac'],
  /** A webhook's custom headers, or an event subscription's delivery properties. */
  'acr-azure': ['header', 'basic'],
  /** Nothing can be set but a URL, which may have user information. */
  'acr-aliyun': ['basic'],
  generic: ['hmac', 'header', 'basic'],
};

/** Takes the same time whether and wherever what was sent differs. @param rawBody the bytes as they came, before anything parsed them */
export function verifySecret(
  kind: HookKind,
  secret: string,
  rawBody: Uint8Array,
  headers: DeliveryHeaders,
): boolean {
  // What is not there is no secret that somebody could know.
  if (secret === '') return false;
  const results = PROOFS[kind].map((proof) => VERIFIERS[proof](secret, rawBody, headers));
  return results.includes(true);
}

type Verifier = (secret: string, rawBody: Uint8Array, headers: DeliveryHeaders) => boolean;

const VERIFIERS: Readonly<Record<Proof, Verifier>> = {
  hmac: (secret, rawBody, headers) => {
    const wanted = createHmac('sha256', secret).update(rawBody).digest('hex');
    return isSame(`sha256=${wanted}`, headerOf(headers, 'x-hub-signature-256'));
  },
  header: (secret, _rawBody, headers) => {
    const value = headerOf(headers, 'authorization');
    const isBare = isSame(secret, value);
    return isSame(secret, credentialsOf(value, 'bearer')) || isBare;
  },
  basic: (secret, _rawBody, headers) => {
    const pair = Buffer.from(credentialsOf(headerOf(headers, 'authorization'), 'basic'), 'base64').toString();
    const colon = pair.indexOf(':');
    return isSame(secret, colon < 0 ? '' : pair.slice(colon + 1));
  },
};

/** Empty where it is not there, or more than once. */
function headerOf(headers: DeliveryHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : '';
}

/** What follows the scheme; empty where it is another one. Source: RFC 9110, 11.4. */
function credentialsOf(authorization: string, scheme: string): string {
  const isScheme = authorization.slice(0, scheme.length + 1).toLowerCase() === `${scheme} `;
  return isScheme ? authorization.slice(scheme.length + 1).trim() : '';
}

/** Hashes are of one length, and what is seen of how they compare says nothing of what was hashed. */
function isSame(wanted: string, given: string): boolean {
  return timingSafeEqual(hash('sha256', wanted, 'buffer'), hash('sha256', given, 'buffer'));
}
