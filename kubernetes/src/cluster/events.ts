import { createHash } from 'node:crypto';
import { remember } from '../bounded.ts';
import type { ApiServer, ClusterObject } from './contract.ts';
import { pathOf } from './path.ts';

export interface Happening {
  readonly type: 'Normal' | 'Warning';
  /** A word for programs, as `Built`. */
  readonly reason: string;
  readonly message: string;
}

export interface EventsOptions {
  /** Who tells, as `drakkar-supernode`. */
  readonly component: string;
  readonly instance: string;
  failed(error: unknown): void;
}

/** Of what belongs to no namespace events are told in this one. Source: client-go, `tools/record`. */
const NAMESPACE = 'default';
/** The same is one event that counts, and is told no more often than this. */
const AGAIN_MS = 30_000;
/** Of one object in a row; afterwards one each {@link REFILL_MS}. Source: client-go, `tools/record`, spam filter. */
const BURST = 25;
const REFILL_MS = 60_000;
const MAX_KNOWN = 4_096;
const MAX_MESSAGE = 1_024;
const MAX_AT_ONCE = 16;

interface Known {
  count: number;
  firstAt: string;
  toldAtMs: number;
}

interface Bucket {
  left: number;
  atMs: number;
}

/** Says on objects what has happened to them, for people. Nothing waits for that, and what can't be told is not. */
export class Events {
  readonly #api: ApiServer;
  readonly #options: EventsOptions;
  readonly #known = new Map<string, Known>();
  readonly #buckets = new Map<string, Bucket>();
  #telling = 0;

  constructor(api: ApiServer, options: EventsOptions) {
    this.#api = api;
    this.#options = options;
  }

  tell(object: ClusterObject, { type, reason, message: whole }: Happening): void {
    const { uid, name, namespace, resourceVersion } = object.metadata;
    const message = whole.length > MAX_MESSAGE ? `${whole.slice(0, MAX_MESSAGE - 1)}…` : whole;
    const nowMs = performance.now();
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const id = createHash('sha256')
      .update([uid, type, reason, message].join('\0'))
      .digest('hex')
      .slice(0, 16);
    const known = this.#known.get(id) ?? { count: 0, firstAt: now, toldAtMs: Number.NEGATIVE_INFINITY };
    known.count += 1;
    remember(this.#known, id, known, MAX_KNOWN);
    if (nowMs - known.toldAtMs < AGAIN_MS || this.#telling >= MAX_AT_ONCE || !this.#mayTell(uid, nowMs))
      return;
    known.toldAtMs = nowMs;
    const space = namespace ?? NAMESPACE;
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name.slice(0, 200)}.${id}`, namespace: space },
      involvedObject: {
        ...{ apiVersion: object.apiVersion, kind: object.kind, name, namespace, uid, resourceVersion },
      },
      ...{ type, reason, message, count: known.count, firstTimestamp: known.firstAt, lastTimestamp: now },
      source: { component: this.#options.component, host: this.#options.instance },
      reportingComponent: this.#options.component,
      reportingInstance: this.#options.instance,
    };
    void this.#send(space, event);
  }

  async #send(namespace: string, event: { readonly metadata: { readonly name: string } }): Promise<void> {
    this.#telling += 1;
    try {
      await this.#api.request(
        'PATCH',
        pathOf`/api/v1/namespaces/${namespace}/events/${event.metadata.name}`,
        {
          body: event,
          contentType: 'application/apply-patch+yaml',
          query: { fieldManager: this.#options.component, force: true },
        },
      );
    } catch (error) {
      this.#options.failed(error);
    } finally {
      this.#telling -= 1;
    }
  }

  #mayTell(uid: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(uid) ?? { left: BURST, atMs: nowMs };
    const left = Math.min(BURST, bucket.left + (nowMs - bucket.atMs) / REFILL_MS);
    const now = { left: left >= 1 ? left - 1 : left, atMs: nowMs };
    remember(this.#buckets, uid, now, MAX_KNOWN);
    return left >= 1;
  }
}
