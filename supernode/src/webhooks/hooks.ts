import { randomBytes } from 'node:crypto';
import { DrakkarError, digestOf, hexOf, isDrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import { newId } from '../ids.ts';
import { isTooMuch, tooMuch } from '../policies/too-much.ts';
import { Collection, type Page, type PageOptions, type StateStore } from '../state/index.ts';
import { Deliveries } from './deliveries.ts';
import { readDelivery } from './delivery.ts';
import { deliveryIdOf } from './delivery-id.ts';
import { EXAMPLES } from './examples.ts';
import type { HookKind } from './kinds.ts';
import type { Pushed } from './notification.ts';
import { type DeliveryRecord, type Hook, type HookRequest, hookSchema, type Postponed } from './schema.ts';
import { PROOFS, type Proof, verifySecret } from './secrets.ts';
import type { DeliveryHeaders } from './shapes/shape.ts';

export interface HooksModules {
  readonly state: StateStore;
  /** What one delivery says was pushed; kept when it returns. @returns how many policies it is for */
  pushed(images: readonly Pushed[]): Promise<number>;
  nowMs(): number;
}

/** Hears what came of a delivery, also of one that is refused or put off. */
export type DeliveryListener = (kind: HookKind, outcome: DeliveryRecord['outcome'] | 'postponed') => void;

export interface Taken {
  readonly outcome: DeliveryRecord['outcome'];
  readonly images: number;
  readonly policies: number;
  /** What the sender is to be told besides. */
  readonly answer?: object | undefined;
}

export interface Trial {
  readonly pushed: readonly Pushed[];
  readonly example: object | undefined;
}

export interface LastDeliveries {
  readonly deliveries: DeliveryRecord[];
  readonly lastTaken: DeliveryRecord | null;
  readonly postponed: Postponed;
}

type DeliveryPage = ReturnType<Deliveries['page']>;
type Note = (outcome: DeliveryRecord['outcome'], detail: string) => void;

const MAX_HOOKS = 500;
/** Deliveries that are being taken at the same time; senders come again later. */
const MAX_TAKING = 100;
/** Of a hook's deliveries its document has so many. */
const SHOWN_DELIVERIES = 5;
/** The same delivery again within so long is none. */
const REPEATED_MS = 24 * 60 * 60_000;

/** What registries say that they have now. */
export class Hooks {
  readonly #modules: HooksModules;
  readonly #hooks: Collection<Hook>;
  readonly #had: Collection<number>;
  readonly #deliveries = new Deliveries();
  #taking = 0;

  constructor(modules: HooksModules) {
    this.#modules = modules;
    this.#hooks = new Collection(modules.state, 'hooks', hookSchema);
    this.#had = new Collection(modules.state, 'deliveries', z.number());
  }

  /** In the order in which they were made. */
  page(options: Omit<PageOptions, 'reverse'>): Promise<Page<Hook>> {
    return this.#hooks.page(options);
  }

  /** Of one hook, the newest first. @throws `not_found` */
  async deliveries(id: string, options: Omit<PageOptions, 'reverse'>): Promise<DeliveryPage> {
    await this.#get(id);
    return this.#deliveries.page(id, options);
  }

  /** What is shown of its deliveries beside the hook. */
  lastOf(id: string): LastDeliveries {
    const { items: deliveries } = this.#deliveries.page(id, { limit: SHOWN_DELIVERIES });
    const lastTaken = this.#deliveries.lastTakenOf(id);
    return { deliveries, lastTaken, postponed: this.#deliveries.postponedOf(id) };
  }

  /** @throws `already_exists` | `limit_exceeded` */
  async create({ name, kind, registry, secret }: HookRequest, by: string): Promise<Hook> {
    const others = (await this.page({ limit: MAX_HOOKS })).items.map(({ value }) => value);
    if (others.length >= MAX_HOOKS)
      throw new DrakkarError('limit_exceeded', `there are ${MAX_HOOKS} webhooks`);
    if (others.some((hook) => hook.name === name))
      throw new DrakkarError('already_exists', `another webhook is called ${name}`);
    const nowMs = this.#modules.nowMs();
    const hook: Hook = {
      id: newId(nowMs),
      name,
      kind,
      registry: registry ?? null,
      secret: secret ?? randomBytes(32).toString('base64url'),
      createdAtMs: nowMs,
      createdBy: by,
    };
    await this.#hooks.add(hook.id, hook);
    return hook;
  }

  /** @throws `not_found` */
  async remove(id: string): Promise<void> {
    await this.#get(id);
    await this.#hooks.remove(id);
    this.#deliveries.forget(id);
  }

  /**
   * Reads a delivery and does nothing else: nobody has to show the secret, and nothing is remembered of it.
   *
   * @param delivery the JSON that the sender would send; an example of the hook's kind where it is not given
   * @returns what was pushed, and the example that was read
   * @throws `not_found`; `invalid_argument` for what its kind does not say
   */
  async try(id: string, delivery?: unknown): Promise<Trial> {
    const { kind, registry } = await this.#get(id);
    const example = delivery === undefined ? EXAMPLES[kind] : undefined;
    return { example, pushed: readDelivery(kind, example ?? delivery, {}, { registry }).pushed };
  }

  /**
   * Takes what a registry says. It is a hint: hosts ask the registry themselves.
   *
   * @throws `not_found`; `unauthorized` for who does not know the secret; `invalid_argument` for what its kind does not say; 429 for too much at once
   */
  async take(
    id: string,
    body: Uint8Array,
    headers: DeliveryHeaders,
    listener: DeliveryListener,
  ): Promise<Taken> {
    if (this.#taking >= MAX_TAKING) {
      this.postpone(id, 'too many deliveries at once', listener);
      throw tooMuch('too many deliveries at once');
    }
    this.#taking += 1;
    try {
      const hook = await this.#get(id);
      this.#deliveries.begin(id, hook.kind);
      const note: Note = (outcome, detail) => {
        this.#deliveries.add(id, { atMs: this.#modules.nowMs(), outcome, detail });
        listener(hook.kind, outcome);
      };
      if (!verifySecret(hook.kind, hook.secret, body, headers)) {
        note('refused', 'the sender does not show that it knows the secret');
        throw new DrakkarError('unauthorized', 'the sender does not show that it knows the secret', {
          hint: proofWords(hook.kind),
        });
      }
      return await this.#read(hook, body, headers, note);
    } catch (error) {
      if (isTooMuch(error)) this.postpone(id, error.message, listener);
      throw error;
    } finally {
      this.#taking -= 1;
    }
  }

  /** The sender of a delivery is told to come again. Nothing is kept of hooks of which there was no delivery yet, or that are none. */
  postpone(id: string, why: string, listener: DeliveryListener): void {
    const kind = this.#deliveries.kindOf(id);
    if (kind === undefined) return;
    this.#deliveries.postpone(id, why, this.#modules.nowMs());
    listener(kind, 'postponed');
  }

  async #read(hook: Hook, bytes: Uint8Array, headers: DeliveryHeaders, note: Note): Promise<Taken> {
    try {
      const body = parse(bytes);
      const { pushed, answer } = readDelivery(hook.kind, body, headers, { registry: hook.registry });
      const ids = idsOf(hook, bytes, body, headers);
      if (await this.#isRepeated(ids)) {
        note('repeated', `${pushed.length} images`);
        return { outcome: 'repeated', images: pushed.length, policies: 0, answer };
      }
      const policies = await this.#modules.pushed(pushed);
      // Not before: what could not be taken is sent once more.
      for (const id of ids) await this.#had.add(id, this.#modules.nowMs(), { ttlMs: REPEATED_MS });
      const outcome = policies > 0 ? 'taken' : 'nothing';
      note(outcome, `${pushed.length} images, ${policies} times for a policy`);
      return { outcome, images: pushed.length, policies, answer };
    } catch (error) {
      if (isDrakkarError(error, 'invalid_argument')) note('malformed', error.message);
      throw error;
    }
  }

  async #isRepeated(ids: readonly string[]): Promise<boolean> {
    for (const id of ids) if ((await this.#had.get(id)) !== undefined) return true;
    return false;
  }

  async #get(id: string): Promise<Hook> {
    const hook = (await this.#hooks.get(id))?.value;
    if (hook === undefined) throw new DrakkarError('not_found', 'there is no such webhook');
    return hook;
  }
}

/**
 * What tells a delivery from others: what was had once is had no second time. GitHub's id is not signed, and its bodies are never the same twice: whoever has
 * listened can't send one again under another id.
 */
function idsOf({ id, kind }: Hook, bytes: Uint8Array, body: unknown, headers: DeliveryHeaders): string[] {
  const delivery = deliveryIdOf(kind, body, headers);
  const ids = [
    ...(delivery === null ? [] : [digestOf(delivery)]),
    ...(kind === 'ghcr' ? [digestOf(bytes)] : []),
  ];
  return ids.map((digest) => `${id}/${hexOf(digest)}`);
}

const WORDS: Readonly<Record<Proof, string>> = {
  hmac: 'signs the body: X-Hub-Signature-256, HMAC-SHA256',
  header: 'has the secret as its Authorization header, alone or behind Bearer',
  basic: 'has the secret as its password (user information of the URL)',
};

/** How a sender shows that it knows the secret, for people. */
export const proofWords = (kind: HookKind): string =>
  `the sender ${PROOFS[kind].map((proof) => WORDS[proof]).join(', or ')}`;

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new DrakkarError('invalid_argument', 'the delivery is not JSON', { cause });
  }
}
