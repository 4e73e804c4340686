import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { DrakkarError } from '@drakkar/errors';
import { z } from 'zod';
import { isOrigin } from './blob-name.ts';
import { type Digest, isDigest } from './digest.ts';
import { hashTree, rootOf } from './hash-tree.ts';
import { isPeerId, type PeerId, peerIdOf, publicKeyOf } from './identity.ts';

/**
 * What a cluster's key vouches for, as one line of text: a JSON payload and an Ed25519 signature, both in base64url, with a dot
 * between them. What is signed begins with the kind of statement, so that none can pass for another.
 */
interface Named {
  readonly name: string;
}

interface Kind<Statement> extends Named {
  readonly schema: z.ZodType<Statement>;
}

/** Longer than any statement of ours: what is longer is not decoded. */
const MAX_CHARACTERS = 2048;
/** How far clocks may differ. */
export const CLOCK_TOLERANCE_MS = 10 * 60_000;

const peerId = z.custom<PeerId>(isPeerId, 'is not a peer’s name');
const timeMs = z.int().min(0);

/** That a peer is a member of the cluster. */
const membership = {
  name: 'membership',
  schema: z.strictObject({
    peer: peerId,
    /** What people call the host. */
    name: z.string().max(255),
    role: z.enum(['daemon', 'supernode']),
    issuedAtMs: timeMs,
    expiresAtMs: timeMs,
  }),
} as const;

/** That a peer may be given a blob, as one registry gave it, by any member. */
const grant = {
  name: 'grant',
  schema: z.strictObject({
    peer: peerId,
    digest: z.custom<Digest>(isDigest, 'is not a digest'),
    origin: z.string().refine(isOrigin, 'is not a registry'),
    expiresAtMs: timeMs,
  }),
} as const;

/** That each leaf of a tree is a {@link Grant}: only the tree's root is signed. */
const grants = { name: 'grants' } as const;

/** That the cluster's statements are signed by another key from now on, too; signed by the one before. */
const succession = {
  name: 'succession',
  schema: z.strictObject({ key: peerId, issuedAtMs: timeMs }),
} as const;

/** That a member which may build snapshots has said that this builder made this one. */
const voucher = {
  name: 'voucher',
  schema: z.strictObject({
    /** Of the image manifest. */
    manifest: z.custom<Digest>(isDigest, 'is not a digest'),
    platform: z.string().max(100),
    /** Of the signed config. */
    envelope: z.custom<Digest>(isDigest, 'is not a digest'),
    /** The public key, as configuration names it. */
    builder: z.string().max(64),
    expiresAtMs: timeMs,
  }),
} as const;

export type Membership = z.infer<typeof membership.schema>;
export type Grant = z.infer<typeof grant.schema>;
export type Succession = z.infer<typeof succession.schema>;
export type Voucher = z.infer<typeof voucher.schema>;

/** The keys whose statements a member believes: the cluster's, named as peers are. */
export type ClusterKeys = readonly PeerId[];

export const signMembership = (statement: Membership, clusterKey: KeyObject) =>
  signStatement(membership, statement, clusterKey);
/** One signature for all of them: that of the tree whose leaves they are. Between payload and signature each carries its path. */
export function signGrants(statements: readonly Grant[], clusterKey: KeyObject): string[] {
  if (statements.length === 0) return [];
  const payloads = statements.map((statement) => Buffer.from(JSON.stringify(statement)));
  const { root, paths } = hashTree(payloads.map((payload) => signed(grant, payload)));
  const signature = sign(null, signed(grants, root), clusterKey).toString('base64url');
  return payloads.map((payload, index) => {
    const path = paths[index]?.toString('base64url') ?? '';
    return `${payload.toString('base64url')}.${path}.${signature}`;
  });
}
export const signSuccession = (statement: Succession, clusterKey: KeyObject) =>
  signStatement(succession, statement, clusterKey);
export const signVoucher = (statement: Voucher, clusterKey: KeyObject) =>
  signStatement(voucher, statement, clusterKey);

/** @throws `unauthorized` unless a cluster key signed it and it holds now */
export function verifyMembership(text: string, keys: ClusterKeys, nowMs: number): Membership {
  const statement = verifyStatement(membership, text, keys);
  requireCurrent('the membership', statement.expiresAtMs, nowMs);
  return statement;
}

/** @throws `unauthorized` unless a cluster key signed it and it holds now */
export function verifyGrant(text: string, keys: ClusterKeys, nowMs: number): Grant {
  const [encoded, path, signature] = partsOf(grant, text, 3);
  const payload = decoded(encoded);
  const root = rootOf(signed(grant, payload), decoded(path));
  if (root === undefined) throw refusal(grant, 'it is malformed');
  requireSigned(grant, signed(grants, root), decoded(signature), keys);
  const statement = readStatement(grant, payload);
  requireCurrent('the grant', statement.expiresAtMs, nowMs);
  return statement;
}

/** @throws `unauthorized` unless one of the keys that are believed so far signed it */
export function verifySuccession(text: string, keys: ClusterKeys): Succession {
  return verifyStatement(succession, text, keys);
}

/** @throws `unauthorized` unless a cluster key signed it and it holds now */
export function verifyVoucher(text: string, keys: ClusterKeys, nowMs: number): Voucher {
  const statement = verifyStatement(voucher, text, keys);
  requireCurrent('the voucher', statement.expiresAtMs, nowMs);
  return statement;
}

function signStatement<Statement>(kind: Kind<Statement>, statement: Statement, key: KeyObject): string {
  const payload = Buffer.from(JSON.stringify(kind.schema.parse(statement)));
  return `${payload.toString('base64url')}.${sign(null, signed(kind, payload), key).toString('base64url')}`;
}

function verifyStatement<Statement>(kind: Kind<Statement>, text: string, keys: ClusterKeys): Statement {
  const [encoded, signature] = partsOf(kind, text, 2);
  const payload = decoded(encoded);
  requireSigned(kind, signed(kind, payload), decoded(signature), keys);
  return readStatement(kind, payload);
}

function partsOf(kind: Named, text: string, count: number): readonly string[] {
  const parts = text.length > MAX_CHARACTERS ? [] : text.split('.');
  if (parts.length !== count) throw refusal(kind, 'it is malformed');
  return parts;
}

function requireSigned(kind: Named, data: Uint8Array, signature: Uint8Array, keys: ClusterKeys): void {
  if (!keys.some((key) => verify(null, data, publicKeyOf(key), signature)))
    throw refusal(kind, 'another key signed it');
}

function readStatement<Statement>(kind: Kind<Statement>, payload: Buffer): Statement {
  try {
    return kind.schema.parse(JSON.parse(payload.toString('utf8')));
  } catch (cause) {
    throw refusal(kind, 'it says something else', cause);
  }
}

const decoded = (text = ''): Buffer => Buffer.from(text, 'base64url');

const signed = ({ name }: Named, payload: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`drakkar ${name} v1\0`), payload]);

const refusal = ({ name }: Named, why: string, cause?: unknown): DrakkarError =>
  new DrakkarError('unauthorized', `this is no ${name} of this cluster: ${why}`, { cause });

function requireCurrent(what: string, expiresAtMs: number, nowMs: number): void {
  if (nowMs < expiresAtMs + CLOCK_TOLERANCE_MS) return;
  throw new DrakkarError('unauthorized', `${what} ended ${new Date(expiresAtMs).toISOString()}`, {
    hint: 'compare the clocks of both hosts',
  });
}

/** The name of a cluster's key. */
export const clusterKeyName = (key: KeyObject): PeerId =>
  peerIdOf(key.type === 'private' ? createPublicKey(key) : key);

/** What a host needs to enrol: whom to trust, and the secret that lets it in. */
export interface JoinToken {
  readonly clusterKey: PeerId;
  readonly secret: string;
}

const TOKEN_PATTERN = /^drakkar-([1-9A-HJ-NP-Za-km-z]{1,60})-([A-Za-z0-9_]{22,64})$/;

export function formatJoinToken({ clusterKey, secret }: JoinToken): string {
  return `drakkar-${clusterKey}-${secret}`;
}

/** @throws `invalid_argument` */
export function parseJoinToken(text: string): JoinToken {
  const [, clusterKey, secret] = TOKEN_PATTERN.exec(text.trim()) ?? [];
  if (!isPeerId(clusterKey) || secret === undefined) {
    throw new DrakkarError('invalid_argument', 'this is not a join token', {
      hint: 'print one with `drakkar supernode token`; it begins with drakkar-',
    });
  }
  return { clusterKey, secret };
}
