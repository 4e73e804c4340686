import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiServer, type ClusterObject, isConflict, isNotFound } from './contract.ts';
import { pathOf } from './path.ts';

export interface LeaseOptions {
  readonly namespace: string;
  readonly name: string;
  /** Who it is; no other may be called so. */
  readonly identity: string;
  /** It leads, until the signal says that it does no longer. Returns when it has ended what it began. */
  lead(signal: AbortSignal): Promise<void>;
  /** Whether that one, which holds it, is known to lead no longer: that its lease runs out is not waited for then. */
  succeeds?(holder: string): Promise<boolean>;
  failed(error: unknown): void;
}

/**
 * Whoever has not renewed it for so long leads no longer, and gives up itself before that. Where one is killed another one leads within 15 seconds: it sees the last
 * renewal up to 1.2 seconds late, waits for the duration, and notices up to 1.2 seconds later. client-go’s defaults make that 20 seconds.
 */
export const LEASE = { durationMs: 10_000, renewDeadlineMs: 7_000, retryMs: 1_000 };

type Outcome = 'mine' | 'others' | 'failed';

interface LeaseObject extends ClusterObject {
  readonly spec?: {
    readonly holderIdentity?: string | null;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/**
 * Leads where nobody else does. What others’ clocks say is of no account: a lease is over when it has not changed, here, for as long as it lasts.
 * Source: client-go, `tools/leaderelection`.
 */
export class LeaderElection {
  readonly #api: ApiServer;
  readonly #options: LeaseOptions;
  readonly #leases: string;
  readonly #lease: string;
  readonly #times: typeof LEASE;
  /** The lease as it was seen last, and when it became so. */
  #seen: { readonly version: string; readonly atMs: number } | undefined;

  /** As it came back when it was renewed. */
  #held: LeaseObject | undefined;

  constructor(api: ApiServer, options: LeaseOptions, times = LEASE) {
    this.#api = api;
    this.#options = options;
    this.#times = times;
    this.#leases = pathOf`/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`;
    this.#lease = pathOf`/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases/${options.name}`;
  }

  /** Goes on until it is told not to; gives the lease back then. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { retryMs } = this.#times;
    while (!signal.aborted) {
      if ((await this.#tried(signal)) === 'mine') await this.#lead(signal);
      // Not all of those that wait at the same moment.
      await sleep(retryMs * (1 + Math.random() * 0.2), undefined, { signal }).catch(() => {});
    }
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { retryMs, renewDeadlineMs } = this.#times;
    const ending = new AbortController();
    const leading = this.#options
      .lead(AbortSignal.any([signal, ending.signal]))
      .catch((error: unknown) => this.#options.failed(error));
    let renewedAtMs = performance.now();
    while (!signal.aborted && performance.now() - renewedAtMs < renewDeadlineMs) {
      await sleep(retryMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) break;
      const startedMs = performance.now();
      const left = AbortSignal.timeout(Math.max(1, Math.ceil(renewedAtMs + renewDeadlineMs - startedMs)));
      const outcome = await this.#tried(AbortSignal.any([signal, left]));
      if (outcome === 'others') break;
      if (outcome === 'mine') renewedAtMs = startedMs;
    }
    ending.abort();
    await leading;
    if (signal.aborted) await this.#release();
  }

  /** @returns whose it is now */
  async #tried(signal: AbortSignal): Promise<Outcome> {
    try {
      return await this.#take(signal);
    } catch (error) {
      if (!signal.aborted && !isConflict(error)) this.#options.failed(error);
      return 'failed';
    }
  }

  async #take(signal: AbortSignal): Promise<Outcome> {
    const { name, namespace, identity } = this.#options;
    // Where nobody else has written it, one request is enough: a slow server is asked in time.
    const known = this.#held ?? (await this.#read(signal));
    this.#held = undefined;
    const now = new Date().toISOString().replace('Z', '000Z');
    if (known === undefined) {
      const body = this.#leaseOf({ acquireTime: now, renewTime: now, leaseTransitions: 0 });
      this.#held = await this.#api.request('POST', this.#leases, {
        body: { ...body, metadata: { name, namespace } },
        signal,
      });
      return 'mine';
    }
    const { spec = {}, metadata } = known;
    const isMine = spec.holderIdentity === identity;
    if (!isMine && spec.holderIdentity && !(await this.#mayTake(spec.holderIdentity, known))) return 'others';
    const { acquireTime, leaseTransitions = 0 } = spec;
    const body = isMine
      ? this.#leaseOf({ acquireTime: acquireTime ?? now, renewTime: now, leaseTransitions })
      : this.#leaseOf({ acquireTime: now, renewTime: now, leaseTransitions: leaseTransitions + 1 });
    this.#held = await this.#api.request('PUT', this.#lease, {
      body: { ...body, metadata },
      signal,
    });
    return 'mine';
  }

  async #read(signal: AbortSignal): Promise<LeaseObject | undefined> {
    try {
      const lease = await this.#api.request<LeaseObject>('GET', this.#lease, {
        signal,
      });
      const version = lease.metadata.resourceVersion;
      if (this.#seen?.version !== version) this.#seen = { version, atMs: performance.now() };
      return lease;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #mayTake(holder: string, lease: LeaseObject): Promise<boolean> {
    return this.#isOver(lease) || (await this.#options.succeeds?.(holder)) === true;
  }

  #isOver({ spec }: LeaseObject): boolean {
    const lastsMs = Math.max((spec?.leaseDurationSeconds ?? 0) * 1_000, this.#times.durationMs);
    return this.#seen !== undefined && performance.now() - this.#seen.atMs >= lastsMs;
  }

  #leaseOf(more: Omit<NonNullable<LeaseObject['spec']>, 'holderIdentity' | 'leaseDurationSeconds'>) {
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      spec: {
        holderIdentity: this.#options.identity,
        leaseDurationSeconds: Math.ceil(this.#times.durationMs / 1_000),
        ...more,
      },
    };
  }

  /** So that another one need not wait. */
  async #release(): Promise<void> {
    const signal = AbortSignal.timeout(this.#times.retryMs);
    try {
      const lease = await this.#read(signal);
      if (lease?.spec?.holderIdentity !== this.#options.identity) return;
      const body = { ...lease, spec: { ...lease.spec, holderIdentity: null, leaseDurationSeconds: 1 } };
      await this.#api.request('PUT', this.#lease, { body, signal });
    } catch {
      // It ends by itself.
    }
  }
}
