import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { DrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import { isId, newId } from '../ids.ts';
import { Collection, type StateStore } from '../state/index.ts';

/** What a caller may do: look; give the cluster something to do; and everything. Each may what those before it may. */
export const API_ROLES = ['viewer', 'operator', 'admin'] as const;
export type ApiRole = (typeof API_ROLES)[number];

export const mayDo = (role: ApiRole, needed: ApiRole): boolean =>
  API_ROLES.indexOf(role) >= API_ROLES.indexOf(needed);

const tokenSchema = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(API_ROLES),
  /** sha256 of the secret, which nobody can guess: it has 256 bits. */
  secretHash: z.string(),
  createdAtMs: z.number(),
  createdBy: z.string(),
  expiresAtMs: z.number().nullable(),
});
export type ApiToken = z.output<typeof tokenSchema>;

/** Who calls. */
export interface Caller {
  readonly name: string;
  readonly role: ApiRole;
  /** Of the token; `null` for who needs none. */
  readonly token: string | null;
  /** When the token ends; `null` where it does not. */
  readonly expiresAtMs: number | null;
}

const PREFIX = 'drk';
const SECRET_BYTES = 32;
/** That are good still; as many may be kept that are not. */
const MAX_TOKENS = 10_000;
/** So long after its end a token is shown still. */
const KEPT_MS = 24 * 60 * 60_000;

/** Tokens of the API, by their hashes: what was given out can't be shown again. */
export class Tokens implements Disposable {
  readonly #tokens: Collection<ApiToken>;
  /** All of them: each request asks. */
  readonly #known = new Map<string, ApiToken>();
  readonly #watching: Disposable;
  #loading: Promise<void> = Promise.resolve();

  private constructor(state: StateStore) {
    this.#tokens = new Collection(state, 'tokens', tokenSchema);
    this.#watching = state.watch(this.#tokens.prefix, () => {
      // Where the state is away, what is known stays known.
      this.#loading = this.#loading.then(() => this.#load()).catch(() => {});
    });
  }

  static async open(state: StateStore): Promise<Tokens> {
    const tokens = new Tokens(state);
    await tokens.#load();
    await tokens.#sweep(Date.now());
    return tokens;
  }

  /** @returns the token itself, which is not kept */
  async create(
    { name, role, expiresAtMs }: Pick<ApiToken, 'name' | 'role' | 'expiresAtMs'>,
    by: string,
    nowMs: number,
  ): Promise<{ readonly token: ApiToken; readonly text: string }> {
    const good = this.#known.values().reduce((count, token) => count + (hasEnded(token, nowMs) ? 0 : 1), 0);
    if (good >= MAX_TOKENS || this.#known.size >= 2 * MAX_TOKENS) {
      throw new DrakkarError('limit_exceeded', `there are ${this.#known.size} tokens`, {
        hint: 'revoke some; those that have ended go a day later',
      });
    }
    const id = newId(nowMs);
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const token = {
      id,
      name,
      role,
      secretHash: hashOf(secret),
      createdAtMs: nowMs,
      createdBy: by,
      expiresAtMs,
    };
    const ttlMs = expiresAtMs === null ? undefined : Math.max(0, expiresAtMs - nowMs) + KEPT_MS;
    await this.#tokens.add(id, token, { ttlMs });
    this.#known.set(id, token);
    return { token, text: `${PREFIX}_${id}_${secret}` };
  }

  /** In the order of their ids. */
  list(): ApiToken[] {
    return [...this.#known.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  /** Those whose ids come after one, whether that is there still or not. */
  page({ after = '', limit }: { readonly after?: string | undefined; readonly limit: number }): {
    readonly items: ApiToken[];
    readonly next: string | null;
  } {
    const left = this.list().filter(({ id }) => id > after);
    const items = left.slice(0, limit);
    return { items, next: left.length > limit ? (items.at(-1)?.id ?? null) : null };
  }

  /** It is good no longer when this returns. @throws `not_found` */
  async revoke(id: string): Promise<void> {
    if (!isId(id) || (await this.#tokens.get(id)) === undefined) {
      throw new DrakkarError('not_found', 'there is no such token', {
        hint: '`drakkar token ls` lists them',
      });
    }
    await this.#tokens.remove(id);
    this.#known.delete(id);
  }

  /** Whose a token is, as long as it is good. */
  find(text: string, nowMs: number): Caller | undefined {
    const [, id = '', secret = ''] = /^drk_([0-9a-z]{26})_([\w-]{43})$/.exec(text) ?? [];
    const token = this.#known.get(id);
    if (token === undefined || !isSame(token.secretHash, hashOf(secret)) || hasEnded(token, nowMs))
      return undefined;
    return { name: token.name, role: token.role, token: id, expiresAtMs: token.expiresAtMs };
  }

  /** Whether a caller's token is still good. */
  isGood({ token: id }: Caller, nowMs: number): boolean {
    if (id === null) return true;
    const token = this.#known.get(id);
    return token !== undefined && !hasEnded(token, nowMs);
  }

  [Symbol.dispose](): void {
    this.#watching[Symbol.dispose]();
  }

  /** Earlier versions kept for ever what had ended. */
  async #sweep(nowMs: number): Promise<void> {
    const old = this.list().filter((token) => hasEnded(token, nowMs - KEPT_MS));
    for (const { id } of old) {
      await this.#tokens.remove(id);
      this.#known.delete(id);
    }
  }

  async #load(): Promise<void> {
    const tokens = await Array.fromAsync(this.#tokens.all());
    this.#known.clear();
    for (const { id, value } of tokens) this.#known.set(id, value);
  }
}

const hashOf = (secret: string): string => hash('sha256', secret, 'hex');
const isSame = (one: string, other: string): boolean => timingSafeEqual(Buffer.from(one), Buffer.from(other));
const hasEnded = ({ expiresAtMs }: ApiToken, nowMs: number): boolean =>
  expiresAtMs !== null && expiresAtMs <= nowMs;
