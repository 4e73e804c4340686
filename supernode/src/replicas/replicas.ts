import { setTimeout as sleep } from 'node:timers/promises';
import { isPeerId, type PeerId } from '@drakkar/protocol';
import type { Logger } from 'pino';
import { ABSENT, type Change, type Check, Collection, type Entry, type StateStore } from '../state/index.ts';
import { mayServe, type Replica, Roster, replicaSchema } from './roster.ts';

export interface ReplicasModules {
  readonly state: StateStore;
  readonly self: Pick<Replica, 'peer' | 'address' | 'version'>;
  /** How many are connected. */
  hosts(): number;
  /** @throws `unavailable` where the state has nothing of the cluster any more */
  requireState(): Promise<void>;
  readonly log: Logger;
}

export interface ReplicasEvents {
  /** Somebody has come, gone or changed. */
  changed(): void;
  /** This one does what one alone does, as long as that stays as it is. */
  leads(fence: Check): void;
  /** Another one does. */
  follows(): void;
  /** Another one may in a moment. Returns when this one does nothing of it any more. */
  ends(): Promise<void>;
}

/** Who has not said for so long that it is there is not. */
const LEASE_MS = 4_000;
const RENEWAL_MS = 1_000;
/** Who leads. */
const LEADER = 'leadership/lease';
/** How often the lead has changed hands: as long as that is what it was, nobody else has led meanwhile. */
const TERM = 'leadership/term';

/**
 * This supernode as one of several over the same state. Each holds a lease as long as it lives; one of them leads: it has the jobs, the policies and the API, and
 * the others pass on to it what they are asked. Where the state is away all stay what they are: nobody can take over then, and what one that leads would change it
 * can't.
 */
export class Replicas implements AsyncDisposable {
  readonly #modules: ReplicasModules;
  readonly #events: ReplicasEvents;
  readonly #leases: Collection<Replica>;
  readonly #roster = new Roster(LEASE_MS);
  readonly #ending = new AbortController();
  #self: Replica;
  #running: Promise<void> = Promise.resolve();
  #leader: PeerId | undefined;
  /** The revision of its lease to lead. */
  #lead: number | undefined;
  /** The one under which this led last. */
  #term: number | undefined;
  #saidAtMs = Number.NEGATIVE_INFINITY;
  #revision = 0;

  constructor(modules: ReplicasModules, events: ReplicasEvents) {
    this.#modules = modules;
    this.#events = events;
    this.#leases = new Collection(modules.state, 'supernodes', replicaSchema, (key, error) =>
      modules.log.warn({ key, error }, 'what another supernode says of itself can’t be read'),
    );
    this.#self = { ...modules.self, startedAtMs: Date.now(), serving: false, hosts: 0 };
  }

  /** Takes part, from now on. @throws `unavailable` where the state is away */
  async start(): Promise<void> {
    await this.#read();
    await this.#renew();
    this.#running = this.#run();
  }

  list(): Replica[] {
    return this.#roster.list();
  }

  /** Of the state from which they are known. */
  get revision(): number {
    return this.#revision;
  }

  get leader(): PeerId | undefined {
    return this.#leader;
  }

  /** Whether nobody else can lead, where this one does: its lease has not run out since it was heard. */
  get isSure(): boolean {
    return performance.now() - this.#saidAtMs < LEASE_MS;
  }

  get isServing(): boolean {
    return this.#self.serving;
  }

  find(peer: PeerId): Replica | undefined {
    return this.#roster.get(peer);
  }

  /** Also one that has begun just now. @throws `unavailable` */
  async has(peer: PeerId): Promise<boolean> {
    return this.find(peer) !== undefined || (await this.#leases.get(peer)) !== undefined;
  }

  /** The others take over what was its own. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
    const { state, self } = this.#modules;
    this.#self = { ...this.#self, serving: false };
    this.#roster.read([...this.list(), this.#self], performance.now());
    this.#events.changed();
    await this.#events.ends();
    const going: Change[] = [this.#leases.change(self.peer, null)];
    if (this.#lead !== undefined) going.push({ key: LEADER, value: null, expects: this.#lead });
    await state.commit(going).catch(() => {});
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    const { log } = this.#modules;
    for (let failures = 0; !signal.aborted; ) {
      await sleep(RENEWAL_MS, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.#renew();
        if (failures > 0) log.info('the other supernodes are heard of again');
        failures = 0;
      } catch (error) {
        this.#roster.failed();
        if (failures === 0)
          log.error({ error }, 'the other supernodes are not heard of: all goes on as it was');
        failures += 1;
      }
    }
  }

  async #renew(): Promise<void> {
    const { self, hosts, requireState } = this.#modules;
    await requireState();
    this.#self = { ...this.#self, hosts: hosts() };
    const others = this.list().filter(({ peer }) => peer !== self.peer);
    this.#self = { ...this.#self, serving: mayServe(this.#self, others, Date.now()) };
    const saidAtMs = performance.now();
    const isLeading = await this.#say();
    this.#saidAtMs = saidAtMs;
    const isChanged = await this.#read();
    if (!isLeading) await this.#follow();
    if (isChanged) this.#events.changed();
  }

  /** @returns whether there is something to tell */
  async #read(): Promise<boolean> {
    const leases = await Array.fromAsync(this.#leases.all());
    this.#revision = Math.max(0, ...leases.map(({ revision }) => revision));
    return this.#roster.read(
      leases.map(({ value }) => value),
      performance.now(),
    );
  }

  /** That it is there, and leads where it does. @returns whether it leads */
  async #say(): Promise<boolean> {
    const { state, self } = this.#modules;
    const lease = this.#leases.change(self.peer, this.#self, { ttlMs: LEASE_MS });
    if (this.#lead !== undefined) {
      const lead = { key: LEADER, value: self.peer, ttlMs: LEASE_MS, expects: this.#lead };
      this.#lead = await state.commit([lease, lead]);
      if (this.#lead !== undefined) return true;
    }
    await state.commit([lease]);
    return false;
  }

  /** Whoever leads, or this one where nobody does. */
  async #follow(): Promise<void> {
    const { state, self } = this.#modules;
    const lead = await state.get(LEADER);
    if (isPeerId(lead?.value) && lead.value !== self.peer) {
      this.#followed(lead.value);
      return;
    }
    const term = await state.get(TERM);
    const isTerm = term !== undefined && term.revision === this.#term;
    // Its own: said by a commit that seemed to fail,
    if (lead !== undefined && isTerm) this.#lead = lead.revision;
    else if (isTerm) await this.#leadOn(term.revision);
    // or by the process before this one. Who has led until now is given the time to go on.
    else if (lead !== undefined || this.#roster.isSure(performance.now()))
      await this.#takeLead(lead?.revision ?? ABSENT, term);
  }

  #followed(leader: PeerId): void {
    const { self, log } = this.#modules;
    if (this.#leader === leader) return;
    const led = this.#leader === self.peer;
    this.#leader = leader;
    log.info({ leader }, 'another supernode leads');
    if (!led) return;
    this.#term = undefined;
    this.#events.follows();
  }

  /** As if nothing had been: nobody else has led meanwhile. */
  async #leadOn(term: number): Promise<void> {
    const { state, self } = this.#modules;
    this.#lead = await state.commit(
      [{ key: LEADER, value: self.peer, ttlMs: LEASE_MS, expects: ABSENT }],
      [{ key: TERM, expects: term }],
    );
  }

  /** @param lease the revision of the one that is over */
  async #takeLead(lease: number, before: Entry | undefined): Promise<void> {
    const { state, self, log } = this.#modules;
    const term = Number(before?.value ?? 0) + 1;
    const revision = await state.commit([
      { key: LEADER, value: self.peer, ttlMs: LEASE_MS, expects: lease },
      { key: TERM, value: String(term), expects: before?.revision ?? ABSENT },
    ]);
    if (revision === undefined) return;
    const led = this.#leader === self.peer;
    this.#lead = revision;
    this.#term = revision;
    this.#leader = self.peer;
    log.info({ term }, 'this supernode leads');
    // Of what another may have changed it knows nothing.
    if (led) this.#events.follows();
    this.#events.leads({ key: TERM, expects: revision });
  }
}
