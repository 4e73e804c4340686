import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrakkarError, type FirstPullMessage, type PeerId } from '@drakkar/protocol';
import { currentSpan, inTraceOf, type Span } from '@drakkar/service';
import type { Logger } from 'pino';
import { type ApiHandler, forward, refuse } from './api/index.ts';
import { type Control, type HostEvents, NOBODY } from './control/control.ts';
import type { Lead } from './lead.ts';
import type { Check } from './state/index.ts';

export interface LeadershipModules {
  readonly control: Control;
  /** A stream to the supernode that leads; absent where there is no other. @throws `unavailable` */
  readonly open: (() => Promise<Duplex>) | undefined;
  /** @param fence as long as this is so nobody else leads; absent where there is no other */
  start(fence: Check | undefined): Promise<Lead>;
  readonly log: Logger;
}

const RETRY_MS = 1_000;
/** As long as it takes another one to take over. */
const PATIENCE_MS = 8_000;
const POLL_MS = 100;
/** What hosts have pulled while nobody led is told to who does soon after. */
const PULLS_MS = 30_000;
const MAX_PULLS = 1_000;

interface Pull {
  readonly peer: PeerId;
  readonly pull: FirstPullMessage;
  readonly atMs: number;
  readonly span: Span | undefined;
}

/** Leads while it is to, and passes on to who does what it is asked. */
export class Leadership implements AsyncDisposable {
  readonly #modules: LeadershipModules;
  readonly #following: HostEvents;
  #pulls: Pull[] = [];
  #lead: Lead | undefined;
  /** One change after the other; a later one ends the attempts of those before it. */
  #changing: Promise<void> = Promise.resolve();
  #attempt = new AbortController();

  constructor(modules: LeadershipModules) {
    this.#modules = modules;
    this.#following = { ...NOBODY, firstPull: (peer, pull) => this.#remember(peer, pull) };
    modules.control.tasks = this.#following;
  }

  get lead(): Lead | undefined {
    return this.#lead;
  }

  readonly handle: ApiHandler = (request, response, origin) => {
    if (this.#lead !== undefined) this.#lead.handle(request, response, origin);
    else void this.#pass(request, response, origin);
  };

  /** Begins as soon as it can be. Returns when it has, or is not to any more. */
  async begin(fence: Check | undefined): Promise<void> {
    await this.#change((signal) => this.#start(fence, signal));
  }

  /** Another one leads. */
  async end(): Promise<void> {
    await this.#change(() => this.#stop());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }

  /** To whoever leads, or will in a moment. */
  async #pass(...[request, response, origin]: Parameters<ApiHandler>): Promise<void> {
    const { open } = this.#modules;
    const untilMs = performance.now() + PATIENCE_MS;
    for (;;) {
      if (this.#lead !== undefined) {
        this.#lead.handle(request, response, origin);
        return;
      }
      try {
        // Who is believed to lead will in a moment, or nobody does: round and round it goes nowhere.
        if (open === undefined || origin.isPassedOn === true)
          throw new DrakkarError('unavailable', 'it has only just begun');
        const stream = await open();
        if (response.destroyed) stream.destroy();
        else forward(request, response, origin, stream);
        return;
      } catch (error) {
        if (performance.now() >= untilMs || response.destroyed) {
          refuse(response, error);
          return;
        }
        await sleep(POLL_MS);
      }
    }
  }

  async #change(change: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.#attempt.abort();
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#changing = this.#changing
      .then(() => change(attempt.signal))
      .catch((error: unknown) => this.#modules.log.error({ error }, 'who leads could not be changed'));
    await this.#changing;
  }

  async #start(fence: Check | undefined, signal: AbortSignal): Promise<void> {
    const { control, log } = this.#modules;
    await this.#stop();
    while (!signal.aborted) {
      try {
        const lead = await this.#modules.start(fence);
        this.#lead = lead;
        control.tasks = lead.hosts;
        for (const host of control.swarm.hosts.values()) lead.hosts.came(host);
        const sinceMs = performance.now() - PULLS_MS;
        for (const { peer, pull, atMs, span } of this.#pulls)
          if (atMs >= sinceMs) inTraceOf(span, () => lead.hosts.firstPull(peer, pull));
        this.#pulls = [];
        return;
      } catch (error) {
        log.error({ error }, 'it leads, and can’t begin to: it tries again');
        await this.#stop();
        await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #stop(): Promise<void> {
    const lead = this.#lead;
    if (lead === undefined) return;
    this.#lead = undefined;
    this.#modules.control.tasks = this.#following;
    await lead[Symbol.asyncDispose]();
  }

  #remember(peer: PeerId, pull: FirstPullMessage): void {
    this.#pulls.push({ peer, pull, atMs: performance.now(), span: currentSpan() });
    if (this.#pulls.length > MAX_PULLS) this.#pulls.shift();
  }
}
