import { type Digest, rawOf } from '@drakkar/protocol';
import { Progress } from '../progress.ts';
import type { Named, NameMeaning } from './supernode-messages.ts';
import type { Supernodes } from './supernodes.ts';

/** One name that this host asks about, until it is disposed. */
export interface AskedName extends Disposable {
  /** What it means, as another host says; `undefined` where this host is to find out, or nobody can be asked. */
  meaning(signal: AbortSignal): Promise<NameMeaning | undefined>;
  /** How far this host is in finding out. */
  reads(bytes: number): void;
}

/** So long nobody waits for a supernode that is away or says nothing. */
const PATIENCE_MS = 2_000;
/** Nor longer than this, and what reading it this fast takes, for another host that is to find something out. */
const FINDING_MS = 30_000;
const FINDING_BYTES_PER_SECOND = 1024 * 1024;
const POLL_MS = 100;
const PROGRESS_MS = 1_000;

interface Asked {
  readonly sizeBytes: number;
  readonly sinceMs: number;
  users: number;
  answer: Named['meaning'] | undefined;
  answeredAtMs: number;
  saidAtMs: number;
}

type Link = Pick<Supernodes, 'isUp' | 'downMs' | 'knowsNames' | 'name'>;

/** Names of content: asks the supernode, and goes on alone where that is away. */
export class Names {
  readonly #asked = new Map<Digest, Asked>();
  readonly #changed = new Progress();
  readonly #now: () => number;
  #link: Link | undefined;
  #known: () => Iterable<readonly [key: Digest, meaning: NameMeaning]> = () => [];

  /** @param now milliseconds of a clock that goes on evenly */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** What this host tells each supernode that it comes to know. */
  remember(known: () => Iterable<readonly [key: Digest, meaning: NameMeaning]>): void {
    this.#known = known;
    this.#tellKnown();
  }

  begin(link: Link): void {
    this.#link = link;
  }

  ask(key: Digest, sizeBytes: number): AskedName {
    const known = this.#asked.get(key);
    const sinceMs = this.#now();
    const asked = known ?? { sizeBytes, sinceMs, users: 0, answer: undefined, answeredAtMs: 0, saidAtMs: 0 };
    asked.users += 1;
    if (known === undefined) {
      this.#asked.set(key, asked);
      this.#askNow(key, asked);
    }
    return {
      meaning: (signal) => this.#meaning(asked, signal),
      reads: (bytes) => {
        const nowMs = this.#now();
        if (nowMs - asked.saidAtMs < PROGRESS_MS) return;
        asked.saidAtMs = nowMs;
        this.#link?.name(key, { readBytes: BigInt(bytes) });
      },
      [Symbol.dispose]: () => {
        asked.users -= 1;
        if (asked.users > 0) return;
        this.#asked.delete(key);
        if (typeof asked.answer !== 'object') this.#link?.name(key, { givesUp: true });
      },
    };
  }

  /** This host knows. */
  tell(key: Digest, meaning: NameMeaning): void {
    this.named({ key, meaning });
    this.#link?.name(key, { digest: rawOf(meaning.digest), sizeBytes: BigInt(meaning.sizeBytes) });
  }

  named({ key, meaning }: Named): void {
    const asked = this.#asked.get(key);
    if (asked === undefined || typeof asked.answer === 'object') return;
    asked.answer = meaning;
    this.#changed.step();
  }

  /** A supernode that has come back knows nothing of what it was asked and told. */
  linkChanged(): void {
    this.#tellKnown();
    for (const [key, asked] of this.#asked) if (typeof asked.answer !== 'object') this.#askNow(key, asked);
    this.#changed.step();
  }

  #tellKnown(): void {
    if (this.#link?.isUp !== true) return;
    for (const [key, meaning] of this.#known()) this.tell(key, meaning);
  }

  #askNow(key: Digest, asked: Asked): void {
    asked.answer = undefined;
    asked.answeredAtMs = this.#now();
    this.#link?.name(key, { sizeBytes: BigInt(asked.sizeBytes) });
  }

  async #meaning(asked: Asked, signal: AbortSignal): Promise<NameMeaning | undefined> {
    for (;;) {
      const { answer } = asked;
      if (typeof answer === 'object') return answer;
      if (answer === 'yours' || this.#isAlone(asked)) return undefined;
      await this.#changed.nextWithin(POLL_MS, signal);
    }
  }

  #isAlone({ answer, answeredAtMs, sinceMs, sizeBytes }: Asked): boolean {
    const link = this.#link;
    if (link === undefined) return true;
    const nowMs = this.#now();
    // Whoever is to find it out may make progress as a member that lies does.
    if (nowMs - sinceMs >= FINDING_MS + (sizeBytes / FINDING_BYTES_PER_SECOND) * 1000) return true;
    if (link.isUp) return !link.knowsNames || (answer === undefined && isLong(nowMs - answeredAtMs));
    return isLong(link.downMs);
  }
}

const isLong = (ms: number): boolean => ms >= PATIENCE_MS;
