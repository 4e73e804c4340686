import { setImmediate } from 'node:timers/promises';
import { digestOf, hexOf } from '@drakkar/protocol';
import type { Logger } from 'pino';
import { type Change, Collection, type Page, type StateStore, type Stored } from '../state/index.ts';
import { type SeenImage, seenSchema } from './schema.ts';

/** An image that nobody has spoken of for so long is forgotten. */
const TTL_MS = 30 * 24 * 60 * 60_000;
/** What is spoken of again within so long is not written again. */
const AGAIN_MS = 10 * 60_000;
const MAX_SEEN = 10_000;
const PAGE = 200;
/** Of an image: beyond so many the one that has looked at it first may look once more. */
const MAX_POLICIES = 16;

export interface Noted {
  readonly image: string;
  readonly platform: string | null;
  /** Whether a policy has it built now. */
  readonly isLooked: boolean;
  /** The policy that has it built since it is to be started somewhere. */
  readonly startsBy?: string;
}

/** What is to be committed, and what is to be called when it was. */
export interface Notes {
  readonly changes: readonly Change[];
  done(): void;
}

type Times = Pick<SeenImage, 'seenAtMs' | 'lookedAtMs' | 'startsAtMs'>;

/** Images that somebody has pushed or pulled: the last {@link MAX_SEEN}, each with each platform. */
export class Seen {
  readonly #documents: Collection<SeenImage>;
  /** By their ids, the last seen last. */
  readonly #times = new Map<string, Times>();

  private constructor(state: StateStore, log: Logger) {
    this.#documents = new Collection(state, 'seen', seenSchema, (key, error) =>
      log.error({ key, error }, 'an image that was seen can’t be read, and is left out'),
    );
  }

  static async open(state: StateStore, log: Logger): Promise<Seen> {
    const seen = new Seen(state, log);
    const all: Stored<Times>[] = [];
    for await (const page of seen.pages())
      for (const { id, revision, value } of page) all.push({ id, revision, value: timesOf(value) });
    all.sort((one, other) => one.value.seenAtMs - other.value.seenAtMs);
    for (const { id, value } of all) seen.#times.set(id, value);
    return seen;
  }

  /** In the order of their ids; others have their turn between two pages. */
  async *pages(): AsyncGenerator<readonly Stored<SeenImage>[], void, undefined> {
    for (let after: string | null | undefined; after !== null; ) {
      const page: Page<SeenImage> = await this.#documents.page({ after, limit: PAGE });
      yield page.items;
      after = page.next;
      await setImmediate();
    }
  }

  note(images: readonly Noted[], nowMs: number): Notes {
    const noted = new Map<string, SeenImage>();
    for (const { image, platform, isLooked, startsBy } of images) {
      const id = idOf(image, platform);
      const known = this.#times.get(id);
      const isRecent = (atMs: number) => nowMs - atMs < AGAIN_MS;
      const isToldAgain = startsBy === undefined && (!isLooked || (known && isRecent(known.lookedAtMs)));
      if (known && isRecent(known.seenAtMs) && isToldAgain) continue;
      const lookedAtMs = isLooked ? nowMs : (known?.lookedAtMs ?? nowMs);
      const startsAtMs = withLast(known?.startsAtMs ?? {}, startsBy, nowMs);
      noted.set(id, { image, platform, seenAtMs: nowMs, lookedAtMs, startsAtMs });
    }
    return this.#notes(noted, nowMs);
  }

  /** Whether a policy has had it built since then because it was to be started somewhere. */
  hasStarted(image: string, policy: string, sinceMs: number): boolean {
    const atMs = this.#times.get(idOf(image, null))?.startsAtMs[policy];
    return atMs !== undefined && atMs >= sinceMs;
  }

  /** Of those that are looked at again now. */
  looked(images: readonly Stored<SeenImage>[], nowMs: number): Notes {
    const noted = images.map(({ id, value }) => [id, { ...value, lookedAtMs: nowMs }] as const);
    return this.#notes(new Map(noted), nowMs);
  }

  #notes(noted: ReadonlyMap<string, SeenImage>, nowMs: number): Notes {
    const added = [...noted.keys()].filter((id) => !this.#times.has(id)).length;
    const excess = Math.max(0, this.#times.size + added - MAX_SEEN);
    const forgotten = [...this.#times.keys()].filter((id) => !noted.has(id)).slice(0, excess);
    const put = [...noted].map(([id, value]) => {
      const ttlMs = Math.max(1, value.seenAtMs + TTL_MS - nowMs);
      return this.#documents.change(id, value, { ttlMs });
    });
    const done = () => {
      for (const id of forgotten) this.#times.delete(id);
      for (const [id, image] of noted) {
        if (this.#times.get(id)?.seenAtMs !== image.seenAtMs) this.#times.delete(id);
        this.#times.set(id, timesOf(image));
      }
    };
    return { changes: [...put, ...forgotten.map((id) => this.#documents.change(id, null))], done };
  }
}

const timesOf = ({ seenAtMs, lookedAtMs, startsAtMs }: Times): Times => ({
  ...{ seenAtMs, lookedAtMs, startsAtMs },
});

function withLast(
  all: Times['startsAtMs'],
  policy: string | undefined,
  nowMs: number,
): Record<string, number> {
  if (policy === undefined) return all;
  const others = Object.entries(all).filter(([id]) => id !== policy);
  return Object.fromEntries([...others, [policy, nowMs] as const].slice(-MAX_POLICIES));
}

/** Names are longer than keys, and hold what keys don't. */
const idOf = (image: string, platform: string | null): string =>
  hexOf(digestOf(platform === null ? image : `${image} ${platform}`));
