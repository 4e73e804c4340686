import { isDeepStrictEqual } from 'node:util';
import { DrakkarError, isDrakkarError, type RegistryCredential } from '@drakkar/protocol';
import { z } from 'zod';
import type { Agents } from './agents.ts';
import { readLimited } from './body.ts';
import { type Challenge, preferredChallenge } from './challenge.ts';
import { type StoredCredentials, storedCredentials } from './credentials.ts';
import { BoundedMap } from './lru.ts';
import type { UpstreamOptions } from './options.ts';
import { type Answer, discard, exchange, guardRedirect } from './transport.ts';

/**
 * On whose behalf a registry is asked: `undefined` is the daemon with its stored credentials, `null` is nobody (tokens that
 * the registry gives to anyone are fetched), a string is the `Authorization` header of a caller, passed on as it is. {@link OWN} is the daemon with
 * what is stored alone, and nothing that callers have lent it.
 */
export type Caller = string | null | undefined | OwnCredentials;

interface OwnCredentials {
  readonly kind: 'own';
}

export const OWN: OwnCredentials = { kind: 'own' };

interface Token {
  readonly header: string;
  readonly expiresAtMs: number;
}

const tokenSchema = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().optional(),
});

/** Source: distribution's token specification: 60 s when nothing is said. */
const DEFAULT_TOKEN_SECONDS = 60;
/** A token is renewed this long before it ends, so that it does not end on the way. */
const RENEW_EARLY_MS = 5_000;
const MAX_TOKENS = 1024;
const MAX_REGISTRIES = 256;
const MAX_TOKEN_ANSWER_BYTES = 1024 * 1024;
const CREDENTIAL_LIFE_MS = 60_000;
const MAX_LENT = 1024;
/** A token ends sooner: the registry says so. */
const LENT_LIFE_MS = 3_600_000;

interface Question {
  readonly registry: string;
  readonly repository: string;
  readonly endpoint: URL;
  readonly scope: string;
  readonly caller: Caller;
  readonly signal: AbortSignal | undefined;
}

/** Answers the challenges of registries. Tokens are kept per registry, scope and identity until shortly before they end. */
export class Authenticator {
  readonly #options: UpstreamOptions;
  readonly #agents: Agents;
  readonly #challenges = new BoundedMap<string, Challenge>(MAX_REGISTRIES);
  readonly #tokens = new BoundedMap<string, Token>(MAX_TOKENS);
  readonly #credentials = new BoundedMap<string, { of: StoredCredentials; atMs: number }>(MAX_REGISTRIES);
  readonly #lent = new BoundedMap<string, { header: string; atMs: number }>(MAX_LENT);

  readonly #entrusted = new BoundedMap<string, { credential: RegistryCredential; atMs: number }>(MAX_LENT);

  constructor(options: UpstreamOptions, agents: Agents) {
    this.#options = options;
    this.#agents = agents;
  }

  /** What a caller has shown to a registry, which the daemon may show for the same repository where it has nothing of its own. */
  lend({ registry, scope }: Pick<Question, 'registry' | 'scope'>, header: string): void {
    const key = `${registry} ${scope}`;
    const lent = { header, atMs: Date.now() };
    this.#lent.set(key, lent);
    const forget = () => {
      if (this.#lent.get(key) === lent) this.#lent.delete(key);
    };
    setTimeout(forget, LENT_LIFE_MS).unref();
  }

  /** With what one repository is to be read: before what the daemon has of its own. */
  entrust({ registry, scope }: Pick<Question, 'registry' | 'scope'>, credential: RegistryCredential): void {
    const key = `${registry} ${scope}`;
    const known = this.#entrusted.get(key);
    if (!isDeepStrictEqual(known?.credential, credential))
      this.#tokens.delete(tokenKey({ registry, scope, caller: undefined }));
    const entrusted = { credential, atMs: Date.now() };
    this.#entrusted.set(key, entrusted);
    const forget = () => {
      if (this.#entrusted.get(key) === entrusted) this.#entrusted.delete(key);
    };
    setTimeout(forget, LENT_LIFE_MS).unref();
  }

  /** What to send before any challenge: what the registry is known to want, else nothing. */
  async foresee(question: Question): Promise<string | undefined> {
    if (typeof question.caller === 'string') return question.caller;
    const lent = await this.#lentFor(question);
    if (lent !== undefined) return lent;
    const challenge = this.#challenges.get(question.registry);
    if (challenge === undefined) return undefined;
    try {
      return await this.#meet(challenge, question);
    } catch (error) {
      question.signal?.throwIfAborted();
      // It may hold no longer: the registry says anew what it wants.
      this.#challenges.delete(question.registry);
      if (isDrakkarError(error, 'cancelled')) throw error;
      return undefined;
    }
  }

  /**
   * What to send after a 401, or `undefined` when there is nothing better than what was `refused`.
   * @throws as the token server's exchange does
   */
  async answer(header: string, question: Question, refused: string | undefined): Promise<string | undefined> {
    if (typeof question.caller === 'string') return undefined;
    if (refused !== undefined && refused === (await this.#lentFor(question)))
      this.#lent.delete(`${question.registry} ${question.scope}`);
    const challenge = preferredChallenge(header);
    if (challenge === undefined) return undefined;
    this.#tokens.delete(tokenKey(question));
    const authorization = await this.#meet(challenge, question);
    this.#challenges.set(question.registry, challenge);
    return authorization === refused ? undefined : authorization;
  }

  async #lentFor({ registry, repository, scope, caller }: Question): Promise<string | undefined> {
    const lent = caller === undefined ? this.#lent.get(`${registry} ${scope}`) : undefined;
    if (this.#entrusted.get(`${registry} ${scope}`) !== undefined) return undefined;
    if (lent === undefined || lent.atMs + LENT_LIFE_MS < Date.now()) return undefined;
    return (await this.#credential(registry, repository)) === undefined ? lent.header : undefined;
  }

  async #meet(challenge: Challenge, question: Question): Promise<string | undefined> {
    const credential = await this.#credentialFor(question);
    if (challenge.scheme === 'basic') return basic(credential);
    const kept = this.#tokens.get(tokenKey(question));
    if (kept !== undefined && kept.expiresAtMs > Date.now()) return kept.header;
    const token = await this.#fetchToken(challenge, credential, question);
    if (token !== undefined) this.#tokens.set(tokenKey(question), token);
    return token?.header;
  }

  async #credentialFor({
    registry,
    repository,
    scope,
    caller,
  }: Question): Promise<RegistryCredential | undefined> {
    if (caller === null) return undefined;
    const entrusted = caller === undefined ? this.#entrusted.get(`${registry} ${scope}`) : undefined;
    if (entrusted !== undefined && entrusted.atMs + LENT_LIFE_MS > Date.now()) return entrusted.credential;
    return await this.#credential(registry, repository);
  }

  async #credential(registry: string, repository: string): Promise<RegistryCredential | undefined> {
    const kept = this.#credentials.get(registry);
    if (kept !== undefined && kept.atMs + CREDENTIAL_LIFE_MS > Date.now()) return kept.of(repository);
    const of = await storedCredentials(registry, this.#options);
    this.#credentials.set(registry, { of, atMs: Date.now() });
    return of(repository);
  }

  async #fetchToken(
    challenge: Challenge,
    credential: RegistryCredential | undefined,
    question: Question,
  ): Promise<Token | undefined> {
    const realm = challenge.parameters.get('realm') ?? '';
    if (!URL.canParse(realm)) return undefined;
    const url = new URL(realm);
    const isElsewhere = url.origin !== question.endpoint.origin;
    const publicOnly = isElsewhere && (await guardRedirect(question.endpoint, url, this.#options));
    const service = challenge.parameters.get('service');
    const answer =
      credential?.identityToken === undefined
        ? await this.#askWithPassword(url, service, credential, publicOnly, question)
        : await this.#askWithIdentityToken(url, service, credential.identityToken, publicOnly, question);
    if (!answer.response.ok) {
      discard(answer.response, this.#options);
      if (answer.response.status < 500 && answer.response.status !== 429) return undefined;
      throw new DrakkarError(
        'unavailable',
        `the token server ${url.host} answered ${answer.response.status}`,
        {
          details: { registry: question.registry, status: answer.response.status },
        },
      );
    }
    return parseToken(
      await readLimited(answer.response, MAX_TOKEN_ANSWER_BYTES, 'the token', this.#options),
      url,
    );
  }

  #askWithPassword(
    realm: URL,
    service: string | undefined,
    credential: RegistryCredential | undefined,
    publicOnly: boolean,
    question: Question,
  ): Promise<Answer> {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', question.scope);
    const authorization = basic(credential);
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const wanted = { url, method: 'GET', headers, publicOnly, signal: question.signal } as const;
    return exchange(wanted, this.#agents, this.#options);
  }

  #askWithIdentityToken(
    url: URL,
    service: string | undefined,
    identityToken: string,
    publicOnly: boolean,
    question: Question,
  ): Promise<Answer> {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'drakkar',
      scope: question.scope,
      refresh_token: identityToken,
      ...(service === undefined ? {} : { service }),
    });
    return exchange(
      {
        url,
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: () => form.toString(),
        secretBody: true,
        publicOnly,
        signal: question.signal,
      },
      this.#agents,
      this.#options,
    );
  }
}

function tokenKey({ registry, scope, caller }: Pick<Question, 'registry' | 'scope' | 'caller'>): string {
  return `${caller === null ? 'anonymous' : 'daemon'} ${registry} ${scope}`;
}

function basic(credential: RegistryCredential | undefined): string | undefined {
  if (credential?.username === undefined || credential.password === undefined) return undefined;
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

function parseToken(bytes: Buffer, realm: URL): Token {
  try {
    const answer = tokenSchema.parse(JSON.parse(bytes.toString('utf8')));
    const token = answer.token ?? answer.access_token;
    if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) throw new Error('no token in it');
    const lifeMs = (answer.expires_in ?? DEFAULT_TOKEN_SECONDS) * 1000;
    return { header: `Bearer ${token}`, expiresAtMs: Date.now() + Math.max(0, lifeMs - RENEW_EARLY_MS) };
  } catch (cause) {
    throw new DrakkarError('invalid_content', `the token server ${realm.host} gave no valid token`, {
      cause,
    });
  }
}
