import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BlobName,
  blobKeyOf,
  clusterKeyName,
  DrakkarError,
  formatJoinToken,
  type Membership,
  type PeerId,
  signGrants,
  signMembership,
  signSuccession,
  signVoucher,
  type Voucher,
  verifyMembership,
  verifySuccession,
} from '@drakkar/protocol';
import { loadKey } from '@drakkar/service';
import type { Members } from './members.ts';

export interface AuthorityOptions {
  readonly membershipMs: number;
  readonly grantMs: number;
}

/** What a peer says of itself when it comes. */
export interface Claim {
  readonly peer: PeerId;
  readonly name: string;
  readonly membership: string;
  readonly joinSecret: string;
}

const SECRET_BYTES = 24;
/** As many as daemons believe: what an older key has signed is worth nothing any more. */
const BELIEVED_KEYS = 2;
const JOIN_SECRET = 'join-secret';
const CURRENT_KEY = 'cluster-key';
/** Grants that are good for long enough are given again, up to so many: a signature costs more than a look. */
const KEPT_GRANTS = 100_000;
const LOSS = 'every daemon must then enrol again with a new join token';

/** The cluster's key and what it vouches for: who is a member, and who may fetch what. */
export class Authority {
  readonly #options: AuthorityOptions;
  readonly #members: Members;
  readonly #directory: string;
  /** All keys that the cluster has had, the one in use last: daemons that were away for long know only older ones. */
  #names: PeerId[];
  readonly #grants = new Map<string, { readonly text: string; readonly untilMs: number }>();
  #key: KeyObject;

  private constructor(
    options: AuthorityOptions,
    members: Members,
    directory: string,
    key: KeyObject,
    names: PeerId[],
  ) {
    this.#options = options;
    this.#members = members;
    this.#directory = directory;
    this.#key = key;
    this.#names = names;
  }

  /** @throws `invalid_content` for a file that is no key */
  static async open(options: AuthorityOptions, members: Members, directory: string): Promise<Authority> {
    const { key, names } = await keysOf(members, directory);
    const authority = new Authority(options, members, directory, key, names);
    await members.begin(JOIN_SECRET, newSecret());
    return authority;
  }

  /** Another supernode may have replaced the cluster's key. */
  async reload(): Promise<void> {
    const { key, names } = await keysOf(this.#members, this.#directory);
    if (clusterKeyName(key) !== this.clusterKey) this.#grants.clear();
    this.#key = key;
    this.#names = names;
  }

  get clusterKey(): PeerId {
    return clusterKeyName(this.#key);
  }

  get successions(): string[] {
    return this.#members.successions();
  }

  /** What a host needs to enrol. */
  joinToken(): string {
    return formatJoinToken({ clusterKey: this.clusterKey, secret: this.#members.setting(JOIN_SECRET) ?? '' });
  }

  /** The old token lets nobody in any more; members stay. */
  rotateSecret(): void {
    this.#members.set(JOIN_SECRET, newSecret());
  }

  /**
   * Statements are signed by a new key from now on.
   *
   * @param share called with the new key's file before anybody is told of it
   * @returns the old key's word for it
   * @throws `busy` where another supernode has done it meanwhile; `unavailable`
   */
  async rotateKey(
    nowMs: number,
    share: (name: string, text: string) => Promise<void> = async () => {},
  ): Promise<string> {
    const { privateKey } = generateKeyPairSync('ed25519');
    const name = clusterKeyName(privateKey);
    const file = `cluster-${name.slice(-12)}.pem`;
    const text = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    {
      await using handle = await open(join(this.#directory, file), 'wx', 0o600);
      await handle.writeFile(text);
      await handle.sync();
    }
    await share(file, text);
    const succession = signSuccession({ key: name, issuedAtMs: nowMs }, this.#key);
    await this.#members.succeed(succession, { [CURRENT_KEY]: file });
    this.#key = privateKey;
    if (!this.#names.includes(name)) this.#names.push(name);
    this.#grants.clear();
    return succession;
  }

  /**
   * Who may come in, and with which membership.
   * @returns the new membership, where the old one is missing, ends soon, was forgotten or was signed by an older key
   * @throws `unauthorized` | `forbidden`
   */
  admit(claim: Claim, nowMs: number): string | undefined {
    const known = this.#members.find(claim.peer);
    if (known !== undefined && known.revokedAtMs !== null) {
      throw revokedError(claim.peer);
    }
    if (claim.membership !== '') {
      try {
        const membership = verifyMembership(claim.membership, this.#names.slice(-BELIEVED_KEYS), nowMs);
        if (membership.peer === claim.peer) {
          const isFresh = membership.expiresAtMs - nowMs > this.#options.membershipMs / 3;
          const isGood = known !== undefined && isFresh && this.#isCurrent(claim.membership, nowMs);
          return isGood ? undefined : this.issue(claim, nowMs);
        }
      } catch (error) {
        if (claim.joinSecret === '') throw error;
      }
    }
    if (!this.#isSecret(claim.joinSecret)) {
      throw new DrakkarError('unauthorized', 'the join token is not, or no longer, that of this cluster', {
        hint: 'print the one in use with `drakkar supernode token`',
      });
    }
    return this.issue(claim, nowMs);
  }

  issue({ peer, name }: Pick<Claim, 'peer' | 'name'>, nowMs: number): string {
    const membership: Membership = {
      peer,
      name,
      role: 'daemon',
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + this.#options.membershipMs,
    };
    this.#members.put(membership);
    return signMembership(membership, this.#key);
  }

  /** Each may be given its blob. Those that are not known any more, or soon no longer good, are signed together. */
  grants(wanted: readonly { readonly peer: PeerId; readonly blob: BlobName }[], nowMs: number): string[] {
    const { grantMs } = this.#options;
    const untilMs = nowMs + grantMs;
    const keys = wanted.map(({ peer, blob }) => `${peer} ${blobKeyOf(blob)}`);
    const isGood = (key: string) => (this.#grants.get(key)?.untilMs ?? 0) - nowMs > grantMs / 2;
    const missing = wanted.flatMap(({ peer, blob: { digest, origin } }, index) => {
      const key = keys[index] ?? '';
      return isGood(key) ? [] : [{ key, statement: { peer, digest, origin, expiresAtMs: untilMs } }];
    });
    const signed = signGrants(
      missing.map(({ statement }) => statement),
      this.#key,
    );
    for (const [index, { key }] of missing.entries()) {
      this.#grants.delete(key);
      this.#grants.set(key, { text: signed[index] ?? '', untilMs });
    }
    const texts = keys.map((key) => this.#grants.get(key)?.text ?? '');
    for (const oldest of this.#grants.keys()) {
      if (this.#grants.size <= KEPT_GRANTS) break;
      this.#grants.delete(oldest);
    }
    return texts;
  }

  /** The cluster's word for who has built a snapshot. */
  vouch(statement: Omit<Voucher, 'expiresAtMs'>, nowMs: number): string {
    return signVoucher({ ...statement, expiresAtMs: nowMs + this.#options.grantMs }, this.#key);
  }

  #isCurrent(membership: string, nowMs: number): boolean {
    try {
      verifyMembership(membership, [this.clusterKey], nowMs);
      return true;
    } catch {
      return false;
    }
  }

  #isSecret(given: string): boolean {
    const wanted = Buffer.from(this.#members.setting(JOIN_SECRET) ?? '');
    const bytes = Buffer.from(given);
    return bytes.length === wanted.length && wanted.length > 0 && timingSafeEqual(bytes, wanted);
  }
}

/** The token's parts are told apart by hyphens. */
const newSecret = (): string => randomBytes(SECRET_BYTES).toString('base64url').replaceAll('-', '_');

/** The key in use, and the names of all that the cluster has had. */
async function keysOf(
  members: Members,
  directory: string,
): Promise<{ readonly key: KeyObject; readonly names: PeerId[] }> {
  const first = await loadKey(join(directory, 'cluster.pem'), LOSS);
  const current = members.setting(CURRENT_KEY);
  const key = current === undefined ? first : createPrivateKey(await readFile(join(directory, current)));
  const names = [clusterKeyName(first)];
  for (const succession of members.successions()) names.push(verifySuccession(succession, names).key);
  return { key, names };
}

/** What a host is told that was revoked. */
export function revokedError(peer: PeerId): DrakkarError {
  return new DrakkarError('forbidden', `${peer} is a member no longer`, {
    hint: 'remove its keys/peer.pem and let it enrol again, if it may',
  });
}
