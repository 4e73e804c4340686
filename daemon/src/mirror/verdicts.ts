import { createHmac, randomBytes } from 'node:crypto';
import { type Digest, DrakkarError, isDrakkarError } from '@drakkar/protocol';
import { type Caller, isAway, type RepositoryName } from '../upstream/index.ts';
import type { MirrorOptions } from './options.ts';

/** May this caller have this digest under this repository? */
export interface Question {
  readonly caller: Caller;
  readonly image: RepositoryName;
  readonly digest: Digest;
}

type VerdictOptions = Pick<MirrorOptions, 'verdictTtlMs' | 'verdictGraceMs' | 'maxVerdicts'>;

/**
 * What registries have allowed, for a short time, and for a longer one while they are away. Only a yes is remembered.
 * Credentials are kept as keyed hashes that nobody outside this process can make.
 */
export class Verdicts {
  readonly #options: VerdictOptions;
  readonly #now: () => number;
  readonly #secret = randomBytes(32);
  readonly #allowedAtMs = new Map<string, number>();
  readonly #asking = new Map<string, Promise<void>>();

  constructor(options: VerdictOptions, now: () => number) {
    this.#options = options;
    this.#now = now;
  }

  allow(question: Question): void {
    const key = this.#key(question);
    this.#allowedAtMs.delete(key);
    this.#allowedAtMs.set(key, this.#now());
    if (this.#allowedAtMs.size <= this.#options.maxVerdicts) return;
    const [oldest] = this.#allowedAtMs.keys();
    if (oldest !== undefined) this.#allowedAtMs.delete(oldest);
  }

  isFresh(question: Question): boolean {
    return this.#ageMs(question) <= this.#options.verdictTtlMs;
  }

  /**
   * Returns when the caller may have it. `ask` is tried once for all who wait for the same answer.
   * @throws what `ask` throws; a registry that is away is forgiven while an older yes is good
   */
  async check(question: Question, ask: () => Promise<unknown>): Promise<void> {
    const key = this.#key(question);
    while (!this.isFresh(question)) {
      const others = this.#asking.get(key);
      if (others === undefined) {
        const mine = this.#ask(question, ask).finally(() => this.#asking.delete(key));
        this.#asking.set(key, mine);
        return await mine;
      }
      try {
        return await others;
      } catch (error) {
        // Whoever asked has left; that says nothing about this caller.
        if (!isDrakkarError(error, 'cancelled')) throw error;
      }
    }
  }

  /** Whether an older yes stands in for a registry that failed like this. Takes the yes back where the registry said no. */
  forgives(question: Question, error: unknown): boolean {
    if (!(error instanceof DrakkarError)) return false;
    if (!isAway(error)) {
      this.#allowedAtMs.delete(this.#key(question));
      return false;
    }
    return this.#ageMs(question) <= this.#options.verdictGraceMs;
  }

  async #ask(question: Question, ask: () => Promise<unknown>): Promise<void> {
    try {
      await ask();
    } catch (error) {
      if (this.forgives(question, error)) return;
      throw error;
    }
    this.allow(question);
  }

  #ageMs(question: Question): number {
    const at = this.#allowedAtMs.get(this.#key(question));
    return at === undefined ? Number.POSITIVE_INFINITY : this.#now() - at;
  }

  #key({ caller, image, digest }: Question): string {
    const who = typeof caller === 'string' ? `header ${caller}` : caller === null ? 'anonymous' : 'daemon';
    const credential = createHmac('sha256', this.#secret).update(who).digest('base64');
    return `${credential} ${image.registry}/${image.repository}@${digest}`;
  }
}
