import { DrakkarError, type Membership, type PeerId } from '@drakkar/protocol';
import { z } from 'zod';
import { ABSENT, type ChangedKeys, Collection, type StateStore, type WriteBehind } from '../state/index.ts';

const memberSchema = z.object({
  peer: z.string().transform((peer) => peer as PeerId),
  name: z.string(),
  enrolledAtMs: z.number(),
  expiresAtMs: z.number(),
  revokedAtMs: z.number().nullable(),
  /** When it was last connected. */
  seenAtMs: z.number(),
});

/** A peer that has been enrolled. */
export type Member = z.output<typeof memberSchema>;

/** Told of what other supernodes have written. */
export interface MembersEvents {
  revoked(peer: PeerId): void;
  /** Of whom until when nobody is sent to it. */
  quarantined(all: ReadonlyMap<PeerId, number>): void;
  /** The cluster has another key, or another secret lets hosts in. */
  changed(): Promise<void>;
  failed(error: unknown): void;
}

/**
 * What a supernode must not forget of its members. All of it is in memory; what changes is written soon, and {@link written} says when. Who was enrolled in the
 * moment before a crash enrols once more.
 */
export class Members implements Disposable {
  readonly #documents: ReturnType<typeof collectionsOf>;
  readonly #writer: WriteBehind;
  readonly #members = new Map<PeerId, Member>();
  readonly #quarantine = new Map<PeerId, number>();
  readonly #successions: string[] = [];
  readonly #settings = new Map<string, string>();
  /** By peer, when it was revoked: nobody who writes of a member at the same time undoes that. */
  readonly #revocations = new Map<PeerId, number>();
  #following: Disposable | undefined;
  #taking: Promise<void> = Promise.resolve();
  /** In the order of names and peers, until somebody comes or goes. */
  #listed: readonly Member[] | undefined;

  private constructor(state: StateStore, writer: WriteBehind) {
    this.#documents = collectionsOf(state);
    this.#writer = writer;
  }

  static async open(state: StateStore, writer: WriteBehind): Promise<Members> {
    const members = new Members(state, writer);
    await members.#load();
    return members;
  }

  /** Takes over what other supernodes write, too, from now on. */
  follow(events: MembersEvents): void {
    const take = (keys: ChangedKeys) => {
      this.#taking = this.#taking.then(() => this.#take(keys, events)).catch(events.failed);
    };
    const watching = Object.values(this.#documents).map(({ store, prefix }) => store.watch(prefix, take));
    this.#following = {
      [Symbol.dispose]: () => {
        for (const each of watching) each[Symbol.dispose]();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#following?.[Symbol.dispose]();
  }

  /** In the order of their names and peers. */
  list(): readonly Member[] {
    this.#listed ??= [...this.#members.values()].sort(
      (one, other) => compare(one.name, other.name) || compare(one.peer, other.peer),
    );
    return this.#listed;
  }

  find(peer: PeerId): Member | undefined {
    return this.#members.get(peer);
  }

  /** Enrols, or renews. Who was revoked stays so. */
  put({ peer, name, issuedAtMs, expiresAtMs }: Membership): void {
    const known = this.#members.get(peer);
    this.#keep(
      known === undefined
        ? { peer, name, enrolledAtMs: issuedAtMs, expiresAtMs, revokedAtMs: null, seenAtMs: issuedAtMs }
        : { ...known, name, expiresAtMs },
    );
  }

  /** One of whom all is known. */
  restore(member: Member): void {
    this.#keep(member);
  }

  /** They are, or were until now, connected. */
  seen(peers: Iterable<PeerId>, nowMs: number): void {
    for (const peer of peers) {
      const member = this.#members.get(peer);
      if (member !== undefined) this.#keep({ ...member, seenAtMs: nowMs });
    }
  }

  forget(peer: PeerId): void {
    this.#members.delete(peer);
    this.#listed = undefined;
    this.#writer.put(this.#documents.member.change(peer, null));
  }

  /**
   * Who is not known may hold a membership that was forgotten here.
   * @param untilMs when the last membership ends that it may have been given
   * @returns whether it could have been a member until now
   */
  revoke(peer: PeerId, nowMs: number, untilMs: number): boolean {
    const known = this.#members.get(peer) ?? {
      ...{ peer, name: '', enrolledAtMs: nowMs, expiresAtMs: untilMs },
      ...{ revokedAtMs: null, seenAtMs: 0 },
    };
    if (known.revokedAtMs !== null) return false;
    this.#revocations.set(peer, nowMs);
    this.#writer.put(this.#documents.revocation.change(peer, nowMs));
    this.#keep({ ...known, revokedAtMs: nowMs });
    return true;
  }

  /** Those whose memberships would be believed still, or were until a given time. */
  revoked(sinceMs: number): PeerId[] {
    return [...this.#members.values()]
      .filter(({ revokedAtMs, expiresAtMs }) => revokedAtMs !== null && expiresAtMs > sinceMs)
      .map(({ peer }) => peer);
  }

  quarantine(peer: PeerId, untilMs: number): void {
    this.#quarantine.set(peer, untilMs);
    this.#writer.put(this.#documents.quarantine.change(peer, untilMs));
  }

  quarantined(nowMs: number): ReadonlyMap<PeerId, number> {
    for (const [peer, untilMs] of this.#quarantine) {
      if (untilMs > nowMs) continue;
      this.#quarantine.delete(peer);
      this.#writer.put(this.#documents.quarantine.change(peer, null));
    }
    return this.#quarantine;
  }

  /** From the first key of the cluster to the one in use. */
  successions(): string[] {
    return [...this.#successions];
  }

  /**
   * Adds a succession, and sets what goes with it: both, or neither. Returns when that is written.
   * @throws `busy` where another supernode has added one meanwhile; `unavailable`
   */
  async succeed(statement: string, settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const { succession, setting } = this.#documents;
    const count = this.#successions.length;
    const revision = await succession.store.commit([
      succession.change(String(count).padStart(6, '0'), statement, { expects: ABSENT }),
      ...Object.entries(settings).map(([name, value]) => setting.change(name, value)),
    ]);
    if (revision === undefined) throw new DrakkarError('busy', 'another supernode has just replaced the key');
    this.#successions[count] = statement;
    for (const [name, value] of Object.entries(settings)) this.#settings.set(name, value);
  }

  setting(name: string): string | undefined {
    return this.#settings.get(name);
  }

  /** Sets what nobody has set yet, not even another supernode at the same time. Returns when it is written. @throws `unavailable` */
  async begin(name: string, value: string): Promise<void> {
    const { setting } = this.#documents;
    if (this.#settings.has(name)) return;
    await setting.add(name, value);
    this.#settings.set(name, (await setting.get(name))?.value ?? value);
  }

  set(name: string, value: string): void {
    this.#settings.set(name, value);
    this.#writer.put(this.#documents.setting.change(name, value));
  }

  /** Returns when everything until now survives a power cut. @throws `unavailable` */
  async written(): Promise<void> {
    await this.#writer.flush();
  }

  async #load(): Promise<void> {
    const { member, revocation, quarantine, succession, setting } = this.#documents;
    const settings = await Array.fromAsync(setting.all());
    if (settings.length === 0 && this.#settings.size > 0)
      throw new DrakkarError('unavailable', 'the state has nothing of its members any more');
    for await (const { id, value } of revocation.all()) this.#revocations.set(id as PeerId, value);
    const gone = new Set(this.#members.keys());
    for await (const { value } of member.all()) {
      this.#know(value);
      gone.delete(value.peer);
    }
    for (const peer of gone) {
      if (this.#writer.isPending(member.prefix + peer)) continue;
      this.#members.delete(peer);
      this.#listed = undefined;
    }
    for await (const { id, value } of quarantine.all()) this.#quarantine.set(id as PeerId, value);
    const successions = (await Array.fromAsync(succession.all())).map(({ value }) => value);
    this.#successions.splice(0, successions.length, ...successions);
    for (const { id, value } of settings)
      if (!this.#writer.isPending(setting.prefix + id)) this.#settings.set(id, value);
  }

  async #take(keys: ChangedKeys, events: MembersEvents): Promise<void> {
    const { member, revocation, quarantine } = this.#documents;
    const known = new Set(this.#revocations.keys());
    const few = keys?.every((key) =>
      [member.prefix, quarantine.prefix].some((prefix) => key.startsWith(prefix)),
    );
    if (keys !== null && few === true) {
      for (const key of keys) await this.#takeKey(key);
    } else {
      await this.#load();
    }
    for (const peer of this.#revocations.keys()) if (!known.has(peer)) events.revoked(peer);
    if (keys === null || keys.some((key) => key.startsWith(quarantine.prefix)))
      events.quarantined(this.#quarantine);
    if (few !== true && keys?.every((key) => key.startsWith(revocation.prefix)) !== true)
      await events.changed();
  }

  /** What is about to be written here is newer. */
  async #takeKey(key: string): Promise<void> {
    if (this.#writer.isPending(key)) return;
    const { member, quarantine } = this.#documents;
    if (key.startsWith(quarantine.prefix)) {
      const peer = key.slice(quarantine.prefix.length) as PeerId;
      const stored = await quarantine.get(peer);
      if (stored === undefined) this.#quarantine.delete(peer);
      else this.#quarantine.set(peer, stored.value);
      return;
    }
    const peer = key.slice(member.prefix.length) as PeerId;
    const stored = await member.get(peer);
    if (stored !== undefined) this.#know(stored.value);
    else if (this.#members.delete(peer)) this.#listed = undefined;
  }

  #know(member: Member): void {
    const { revokedAtMs: known = null, seenAtMs = 0 } = this.#members.get(member.peer) ?? {};
    this.#members.set(member.peer, {
      ...member,
      revokedAtMs: member.revokedAtMs ?? this.#revocations.get(member.peer) ?? known,
      seenAtMs: Math.max(member.seenAtMs, seenAtMs),
    });
    this.#listed = undefined;
  }

  #keep(member: Member): void {
    this.#members.set(member.peer, member);
    this.#listed = undefined;
    this.#writer.put(this.#documents.member.change(member.peer, member));
  }
}

function collectionsOf(state: StateStore) {
  return {
    member: new Collection(state, 'members', memberSchema),
    revocation: new Collection(state, 'revocations', z.number()),
    quarantine: new Collection(state, 'quarantine', z.number()),
    succession: new Collection(state, 'successions', z.string()),
    setting: new Collection(state, 'cluster', z.string()),
  };
}

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);
