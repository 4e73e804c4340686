import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  DrakkarError,
  ERROR_CODES,
  FromDaemonSchema,
  type FromSupernode,
  FromSupernodeSchema,
  isPeerId,
  LOCALITY_LABELS,
  type PeerId,
  type SupernodeAddress,
  toDrakkarError,
} from '@drakkar/protocol';
import { Channel, type ControlNode, FEATURES, PROTOCOL_VERSION, SUPERNODE_PROTOCOL } from '@drakkar/wire';
import type { Log } from '../snapshots/modules.ts';
import type { Standing } from './standing.ts';

/** How this host describes itself. */
export interface HostDescription {
  readonly name: string;
  readonly dataAddress: string;
  readonly controlAddress: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly uploadSlots: number;
  /** What it does for the cluster beyond its own containers. */
  readonly roles: readonly string[];
}

export type FromDaemonInit = NonNullable<MessageInitShape<typeof FromDaemonSchema>['message']>;
export type HeartbeatInit = Extract<FromDaemonInit, { readonly case: 'heartbeat' }>['value'];

export interface LinkEvents {
  /** It came up: it knows nothing of this host yet. */
  up(link: SupernodeLink): void;
  down(link: SupernodeLink): void;
  /** What the supernode says, but for what is said about who is a member. */
  heard(said: FromSupernode, link: SupernodeLink): void;
  revoked(peers: readonly PeerId[]): void;
  /** What is said of this host, again and again. */
  beat(): HeartbeatInit;
}

const CONNECT_MS = 10_000;
/**
 * Back-off is drawn from between zero and this, doubled at each failure after the first few: daemons that lost a supernode together
 * come one by one, and a supernode that is soon back has them soon. Where it has said how long all of them need, it is drawn from that
 * once the first attempt has failed.
 */
const FIRST_RETRY_MS = 3_000;
const QUICK_RETRIES = 5;
const LAST_RETRY_MS = 30_000;
const MOST_SPREAD_MS = 5 * 60_000;
/** Who finds no room even so has it sooner the next time: most of the others are back by then. */
const SPREAD_DIVISOR = 4;
/** Without an answer a supernode is taken for gone, whatever its connection says. */
const MISSED_HEARTBEATS = 4;
const MESSAGE_BYTES = 4 * 1024 * 1024;

/** The long stream to one supernode: kept up for as long as it lasts. What is said while it is down is lost. */
export class SupernodeLink implements AsyncDisposable {
  readonly address: SupernodeAddress;
  readonly #host: HostDescription;
  readonly #node: ControlNode;
  readonly #standing: Standing;
  readonly #joinSecret: string;
  readonly #events: LinkEvents;
  readonly #log: Log;
  readonly #ending = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #channel: Channel<typeof FromDaemonSchema, typeof FromSupernodeSchema> | undefined;
  #localityLabels = LOCALITY_LABELS;
  #downSinceMs = performance.now();
  #heardAtMs = performance.now();
  /** So long all hosts together need to come back. */
  #returnSpreadMs = 0;
  #lastError: DrakkarError | undefined;
  #features = 0n;
  #clockAheadMs: number | undefined;

  constructor(options: {
    readonly address: SupernodeAddress;
    readonly host: HostDescription;
    readonly node: ControlNode;
    readonly standing: Standing;
    readonly joinSecret: string;
    readonly events: LinkEvents;
    readonly log: Log;
  }) {
    this.address = options.address;
    this.#host = options.host;
    this.#node = options.node;
    this.#standing = options.standing;
    this.#joinSecret = options.joinSecret;
    this.#events = options.events;
    this.#log = options.log;
  }

  /** Connects, for as long as it lasts. */
  start(): void {
    this.#running = this.#run();
  }

  /** Which labels say where a host is. */
  get localityLabels(): readonly string[] {
    return this.#localityLabels;
  }

  get isUp(): boolean {
    return this.#channel !== undefined;
  }

  /** How long the supernode has been away; 0 while it is there. */
  get downMs(): number {
    return this.isUp ? 0 : performance.now() - this.#downSinceMs;
  }

  /** Why it is down, where that is known. */
  get lastError(): DrakkarError | undefined {
    return this.isUp ? undefined : this.#lastError;
  }

  /** How far the supernode's clock was ahead of this host's when it last came up. */
  get clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  /** Whether there is a supernode that can something. */
  can(feature: bigint): boolean {
    return this.isUp && (this.#features & feature) !== 0n;
  }

  /** @param traceparent of the trace for which it is said */
  send(message: FromDaemonInit, traceparent = ''): void {
    this.#channel?.send({ message, traceparent });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new DrakkarError('cancelled', 'the link ends'));
    await this.#channel?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    for (let failures = 0; !signal.aborted; ) {
      const upMs = await this.#connect().catch((cause: unknown) => {
        const error = toDrakkarError(cause, 'unavailable');
        if (!signal.aborted && this.#lastError?.message !== error.message) {
          const isRefused = error.code === 'unauthorized' || error.code === 'forbidden';
          const what = isRefused ? 'the supernode does not let this host in' : 'the supernode is away';
          this.#log.warn({ supernode: this.address.peer, error }, what);
        }
        this.#lastError = error;
        return 0;
      });
      failures = upMs > LAST_RETRY_MS ? 0 : failures + 1;
      const doubled = Math.min(FIRST_RETRY_MS * 2 ** Math.max(0, failures - QUICK_RETRIES), LAST_RETRY_MS);
      const spread = failures === 0 ? 0 : this.#returnSpreadMs / SPREAD_DIVISOR ** (failures - 1);
      const longestMs = Math.max(doubled, spread);
      await sleep(Math.random() * longestMs, undefined, { signal }).catch(() => {});
    }
  }

  /** One connection, from its hello to its end. @returns how long it was up */
  async #connect(): Promise<number> {
    const { signal } = this.#ending;
    const { at, peer } = this.address;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]);
    const { stream } = await this.#node.open(peer, [at], SUPERNODE_PROTOCOL, limit);
    const channel = new Channel(stream, FromDaemonSchema, FromSupernodeSchema, {
      messageBytes: MESSAGE_BYTES,
    });
    let heartbeat: NodeJS.Timeout | undefined;
    let upSinceMs = performance.now();
    try {
      channel.send({ message: { case: 'hello', value: this.#hello() } });
      const first = await channel.receive(limit);
      if (first === undefined) throw new DrakkarError('unavailable', 'the supernode hung up');
      const heartbeatMs = this.#welcome(first);
      upSinceMs = performance.now();
      this.#channel = channel;
      this.#heardAtMs = performance.now();
      heartbeat = setInterval(() => {
        if (performance.now() - this.#heardAtMs > MISSED_HEARTBEATS * heartbeatMs) {
          channel.abort(new DrakkarError('timeout', 'the supernode says nothing any more'));
          return;
        }
        channel.send({ message: { case: 'heartbeat', value: this.#events.beat() } });
      }, heartbeatMs);
      this.#log.info(
        { supernode: peer, memberUntilMs: this.#standing.memberUntilMs },
        'this host has joined the swarm',
      );
      this.#events.up(this);
      for (;;) {
        const message = await channel.receive(signal);
        if (message === undefined) break;
        this.#heardAtMs = performance.now();
        this.#take(message);
      }
      return performance.now() - upSinceMs;
    } finally {
      clearInterval(heartbeat);
      await channel.close();
      if (this.#channel === channel) {
        this.#channel = undefined;
        this.#downSinceMs = performance.now();
        this.#events.down(this);
      }
    }
  }

  #hello() {
    const { name, dataAddress, controlAddress, labels, uploadSlots, roles } = this.#host;
    return {
      version: PROTOCOL_VERSION,
      features: FEATURES,
      membership: this.#standing.membership,
      joinSecret: this.#joinSecret,
      name,
      dataAddress,
      controlAddresses: [controlAddress],
      labels: { ...labels },
      uploadSlots,
      roles: [...roles],
    };
  }

  /** @returns the interval of heartbeats */
  #welcome({ message }: FromSupernode): number {
    if (message.case === 'refused') throw refusalOf(message.value);
    if (message.case !== 'welcome') throw new DrakkarError('invalid_content', 'the supernode greets nobody');
    const { features, membership, successions, heartbeatMs, revoked, localityLabels, timeMs } = message.value;
    this.#features = features;
    if (localityLabels.length > 0) this.#localityLabels = localityLabels;
    // An older supernode does not say.
    if (timeMs > 0n) this.#clockAheadMs = Number(timeMs) - Date.now();
    this.#standing.succeed(successions);
    if (membership !== '') this.#standing.enrol(membership);
    if (!this.#standing.isMember) {
      throw new DrakkarError('unauthorized', 'the supernode made this host no member');
    }
    this.#standing.setRevoked(revoked.filter(isPeerId));
    this.#events.revoked(revoked.filter(isPeerId));
    return Math.min(Math.max(heartbeatMs, 500), 60_000);
  }

  #take(said: FromSupernode): void {
    const { message } = said;
    switch (message.case) {
      case 'revoked': {
        const peers = message.value.peers.filter(isPeerId);
        this.#standing.addRevoked(peers);
        this.#events.revoked(peers);
        break;
      }
      case 'clusterKey': {
        const { succession, membership } = message.value;
        if (succession !== '') this.#standing.succeed([succession]);
        if (membership !== '') this.#standing.enrol(membership);
        break;
      }
      case 'alive':
        this.#returnSpreadMs = Math.min(message.value.returnSpreadMs, MOST_SPREAD_MS);
        break;
      case 'refused':
        throw refusalOf(message.value);
      default:
        this.#events.heard(said, this);
    }
  }
}

function refusalOf({ code, message, hint }: { code: string; message: string; hint: string }): DrakkarError {
  const known = ERROR_CODES.find((each) => each === code) ?? 'unavailable';
  return new DrakkarError(known, `the supernode refuses this host: ${message}`, hint === '' ? {} : { hint });
}
