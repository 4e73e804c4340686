import { open, readFile, rename } from 'node:fs/promises';
import {
  type BlobName,
  blobKeyOf,
  DrakkarError,
  errnoOf,
  formatHostPort,
  isPeerId,
  type JoinToken,
  type Membership,
  type PeerId,
  parseSupernodeAddress,
  type SupernodeAddress,
  type Voucher,
  verifyGrant,
  verifyMembership,
  verifySuccession,
  verifyVoucher,
} from '@drakkar/protocol';
import { accepts } from '@drakkar/service';
import { z } from 'zod';
import type { Log } from '../snapshots/modules.ts';

const peer = z.custom<PeerId>(isPeerId);
const documentSchema = z.object({
  clusterKeys: z.array(peer).min(1).max(2),
  membership: z.string(),
  revoked: z.array(peer),
  /** All that were there when one last said so, as `host:port/PEER`. */
  supernodes: z.array(z.string().refine(accepts(parseSupernodeAddress))).default([]),
});
type StandingDocument = z.infer<typeof documentSchema>;

/** Of the keys that a cluster has had, the newest that are believed: one replacement may be on its way. */
const BELIEVED_KEYS = 2;
const KEPT_PROOFS = 4096;

/**
 * How this host stands in its cluster, and how others do: whose word it believes, its own membership, and who is a member no
 * longer. In `<state>/swarm.json`.
 */
export class Standing {
  readonly #path: string;
  readonly #self: PeerId;
  readonly #log: Log;
  /** Statements that have been verified, so that each costs one signature check. */
  readonly #proven = new Map<string, number>();
  readonly #names = new Map<PeerId, string>();
  #document: StandingDocument;
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string, self: PeerId, document: StandingDocument, log: Log) {
    this.#path = path;
    this.#self = self;
    this.#document = document;
    this.#log = log;
  }

  /** A member of another cluster becomes one of this when its file is removed. @throws `invalid_argument` where nothing says which cluster it is */
  static async open(path: string, self: PeerId, token: JoinToken | undefined, log: Log): Promise<Standing> {
    const known = await readDocument(path);
    // Who is a member stays one, whatever has become of the token with which it came.
    if (known !== undefined && (known.membership !== '' || token === undefined)) {
      return new Standing(path, self, known, log);
    }
    if (token === undefined) {
      throw new DrakkarError('invalid_argument', 'this host is no member of a cluster yet', {
        hint: 'set swarm.joinToken to what `drakkar supernode token` prints',
      });
    }
    const fresh = { clusterKeys: [token.clusterKey], membership: '', revoked: [], supernodes: [] };
    return new Standing(path, self, fresh, log);
  }

  get membership(): string {
    return this.#document.membership;
  }

  get isMember(): boolean {
    return this.#document.membership !== '';
  }

  /** `null` where this host is no member, or not any more. */
  get memberUntilMs(): number | null {
    try {
      return this.#member(this.#document.membership).expiresAtMs;
    } catch {
      return null;
    }
  }

  isRevoked(peer: PeerId): boolean {
    return this.#document.revoked.includes(peer);
  }

  /** Believes the keys that follow from those that are believed. */
  succeed(statements: readonly string[]): void {
    let { clusterKeys } = this.#document;
    for (const statement of statements) {
      try {
        const { key } = verifySuccession(statement, clusterKeys);
        if (!clusterKeys.includes(key)) clusterKeys = [...clusterKeys, key].slice(-BELIEVED_KEYS);
      } catch {
        // From a key before those that are believed.
      }
    }
    this.#proven.clear();
    this.#change({ clusterKeys });
  }

  /** @throws `unauthorized` for one that is not this host's */
  enrol(membership: string): void {
    if (this.#member(membership).peer !== this.#self) {
      throw new DrakkarError('unauthorized', 'the supernode sent somebody else’s membership');
    }
    this.#change({ membership });
  }

  /** Supernodes that this host has heard of. */
  get supernodes(): SupernodeAddress[] {
    return this.#document.supernodes.map(parseSupernodeAddress);
  }

  knowSupernodes(addresses: readonly SupernodeAddress[]): void {
    const supernodes = addresses.map(({ at, peer }) => `${formatHostPort(at)}/${peer}`).sort();
    if (supernodes.join() !== this.#document.supernodes.join()) this.#change({ supernodes });
  }

  setRevoked(revoked: readonly PeerId[]): void {
    this.#change({ revoked: [...revoked] });
  }

  addRevoked(revoked: readonly PeerId[]): void {
    this.setRevoked([...new Set([...this.#document.revoked, ...revoked])]);
  }

  /** @throws `unauthorized` unless the peer is a member now */
  requireMember(text: string, peer: PeerId): void {
    this.#prove(`member ${peer} ${text}`, peer, () => {
      const membership = this.#member(text);
      if (membership.peer !== peer) return undefined;
      keep(this.#names, peer, membership.name, KEPT_PROOFS);
      return membership.expiresAtMs;
    });
  }

  /** What the cluster vouches for. @throws `unauthorized` unless it does so now */
  voucher(text: string): Voucher {
    return verifyVoucher(text, this.#document.clusterKeys, Date.now());
  }

  /** As the membership says that the peer has shown. */
  nameOf(peer: PeerId): string | null {
    return this.#names.get(peer) ?? null;
  }

  /** @throws `unauthorized` unless the peer may be given the blob now */
  requireGrant(text: string, peer: PeerId, blob: BlobName): void {
    this.#prove(`grant ${peer} ${blobKeyOf(blob)} ${text}`, peer, () => {
      const grant = verifyGrant(text, this.#document.clusterKeys, Date.now());
      if (grant.peer !== peer) return undefined;
      if (grant.digest === blob.digest && grant.origin === blob.origin) return grant.expiresAtMs;
      throw new DrakkarError(
        'unauthorized',
        `the grant is for ${grant.digest} of ${grant.origin}, and not for ${blob.digest} of ${blob.origin}`,
      );
    });
  }

  /** Returns when everything is on the disk. */
  saved(): Promise<void> {
    return this.#saving;
  }

  #member(text: string): Membership {
    return verifyMembership(text, this.#document.clusterKeys, Date.now());
  }

  #prove(what: string, peer: PeerId, verify: () => number | undefined): void {
    if (this.isRevoked(peer)) throw new DrakkarError('unauthorized', `${peer} is a member no longer`);
    if ((this.#proven.get(what) ?? 0) > Date.now()) return;
    const untilMs = verify();
    if (untilMs === undefined)
      throw new DrakkarError('unauthorized', `this was given to another than ${peer}`);
    keep(this.#proven, what, untilMs, KEPT_PROOFS);
  }

  #change(news: Partial<StandingDocument>): void {
    this.#document = { ...this.#document, ...news };
    const text = JSON.stringify(this.#document);
    this.#saving = this.#saving
      .then(() => write(this.#path, text))
      .catch((error: unknown) => {
        this.#log.error({ path: this.#path, error }, 'how this host stands in its cluster cannot be saved');
      });
  }
}

/** The oldest makes room. */
function keep<Key, Value>(map: Map<Key, Value>, key: Key, value: Value, limit: number): void {
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > limit && oldest !== undefined) map.delete(oldest);
}

/** Below the state directory. */
export const STANDING_FILE = 'swarm.json';

/** Whether a host that keeps its standing there is a member of some cluster. @throws where the file can't be read */
export async function hasMembership(path: string): Promise<boolean> {
  return ((await readDocument(path))?.membership ?? '') !== '';
}

async function readDocument(path: string): Promise<StandingDocument | undefined> {
  try {
    return documentSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    // What can't be read is asked for again: the join token lets this host in.
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError || error instanceof z.ZodError) {
      return undefined;
    }
    throw error;
  }
}

async function write(path: string, text: string): Promise<void> {
  {
    await using file = await open(`${path}.new`, 'w', 0o600);
    await file.writeFile(text);
    await file.sync();
  }
  await rename(`${path}.new`, path);
}
