import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type BlobKey,
  type BlobName,
  blobKeyOf,
  type Digest,
  DrakkarError,
  decodeBlobName,
  digestFromRaw,
  ERROR_CODES,
  encodeBlobName,
  type FoundMessage,
  FromDaemonSchema,
  type FromSupernode,
  FromSupernodeSchema,
  type HostPort,
  isPeerId,
  LOCALITY_LABELS,
  type PeerId,
  type PeerMessage,
  parseHostPort,
  parsePeerId,
  rawOf,
  type SupernodeAddress,
  type TaskMessage,
  type TaskResultMessageSchema,
  toDrakkarError,
} from '@drakkar/protocol';
import {
  Channel,
  type ControlNode,
  FEATURE_NAMES,
  FEATURE_SNAPSHOTS,
  FEATURE_TABLES,
  FEATURE_TASKS,
  FEATURES,
  PROTOCOL_VERSION,
  SUPERNODE_PROTOCOL,
} from '@drakkar/wire';
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

export interface Candidate {
  readonly peer: PeerId;
  readonly dataAddress: HostPort;
  readonly controlAddresses: readonly HostPort[];
  readonly complete: boolean;
}

/** What the supernode says about a blob. */
export interface SupernodeAdvice {
  readonly blob: BlobName;
  readonly grant: string;
  readonly candidates: readonly Candidate[];
  /** This host may read the blob from its registry. */
  readonly upstream: boolean;
}

/** What the supernode says a name means; `wait` while another host finds it out. */
export interface Named {
  readonly key: Digest;
  readonly meaning: NameMeaning | 'yours' | 'wait';
}

export interface NameMeaning {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface LinkEvents {
  advice(advice: SupernodeAdvice): void;
  revoked(peers: readonly PeerId[]): void;
  named(name: Named): void;
  /** @param holders whom to ask for the meta of what was found */
  found(answer: FoundMessage, holders: readonly Candidate[]): void;
  task(task: TaskMessage): void;
  cancelTask(id: string): void;
  /** The link came up or went down. */
  changed(): void;
  /** Complete content to announce. */
  complete(): Iterable<AnnouncedBlob>;
  /** What is said of this host, again and again. */
  beat(): HeartbeatInit;
}

export interface AnnouncedBlob {
  readonly name: BlobName;
  readonly sizeBytes: number;
  readonly pieces: number;
}

interface Announcement extends AnnouncedBlob {
  havePieces: number;
  /** Nothing of it is wanted for now. */
  isResting: boolean;
}

type FromDaemonInit = NonNullable<MessageInitShape<typeof FromDaemonSchema>['message']>;
export type HeartbeatInit = Extract<FromDaemonInit, { readonly case: 'heartbeat' }>['value'];
/** What a host says and asks about snapshots. */
export type SnapshotsSaid = Extract<
  FromDaemonInit,
  { readonly case: 'announce' | 'find' | 'lost' | 'learn' | 'reportTrace' }
>;
/** How far a host is with what it was given to do; the last one has a result or an error. */
export interface TaskReportInit {
  readonly id: string;
  readonly phase?: string;
  readonly doneBytes?: bigint;
  readonly totalBytes?: bigint;
  readonly result?: MessageInitShape<typeof TaskResultMessageSchema>;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}
/** What a host says about a name; all it leaves out is nothing. */
interface NameNews {
  readonly sizeBytes?: bigint;
  readonly digest?: Uint8Array;
  readonly readBytes?: bigint;
  readonly givesUp?: boolean;
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
/** Progress is told no more often than this. */
const HAVE_INTERVAL_MS = 500;

/**
 * The long stream to the supernode: kept up, and told again all that this host wants and has whenever it is up anew. What is said
 * while it is down is remembered, not queued.
 */
export class SupernodeLink implements AsyncDisposable {
  readonly #address: SupernodeAddress;
  readonly #host: HostDescription;
  readonly #node: ControlNode;
  readonly #standing: Standing;
  readonly #joinSecret: string;
  readonly #events: LinkEvents;
  readonly #log: Log;
  readonly #ending = new AbortController();
  readonly #wanted = new Map<BlobKey, Announcement>();
  readonly #toldAtMs = new Map<BlobKey, number>();
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
    this.#address = options.address;
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

  /** Whether there is a supernode that knows what names mean. */
  get knowsNames(): boolean {
    return this.isUp && (this.#features & FEATURE_NAMES) !== 0n;
  }

  /** Whether there is a supernode that knows snapshots. */
  get knowsSnapshots(): boolean {
    return this.isUp && (this.#features & FEATURE_SNAPSHOTS) !== 0n;
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

  want(blob: AnnouncedBlob, havePieces: number): void {
    this.#wanted.set(blobKeyOf(blob.name), { ...blob, havePieces, isResting: false });
    this.#say(blob.name, { case: 'want', value: announcement(blob, havePieces) });
  }

  /** Nothing of a wanted blob is wanted for now, and what is here stays on offer. */
  rest(name: BlobName): void {
    const wanted = this.#wanted.get(blobKeyOf(name));
    if (wanted === undefined) return;
    wanted.isResting = true;
    this.#say(name, { case: 'have', value: announcement(wanted, wanted.havePieces) });
    this.#say(name, { case: 'forget', value: { blob: encodeBlobName(name), want: true, have: false } });
  }

  /** How far a wanted blob is, and which 64ths of it are here. */
  progress(name: BlobName, havePieces: number, cells: () => bigint): void {
    const key = blobKeyOf(name);
    const wanted = this.#wanted.get(key);
    if (wanted === undefined) return;
    wanted.havePieces = havePieces;
    const nowMs = performance.now();
    if (nowMs - (this.#toldAtMs.get(key) ?? 0) < HAVE_INTERVAL_MS) return;
    this.#toldAtMs.set(key, nowMs);
    this.#say(name, { case: 'have', value: { ...announcement(wanted, havePieces), cells: cells() } });
  }

  /** All of it is here. */
  complete(blob: AnnouncedBlob): void {
    this.#unwant(blob.name);
    this.#say(blob.name, { case: 'have', value: announcement(blob, blob.pieces) });
  }

  giveUp(name: BlobName): void {
    this.#unwant(name);
    this.#say(name, { case: 'forget', value: { blob: encodeBlobName(name), want: true, have: true } });
  }

  /** It is here no longer. */
  forget(name: BlobName): void {
    this.#say(name, { case: 'forget', value: { blob: encodeBlobName(name), want: false, have: true } });
  }

  report(peer: PeerId, name: BlobName, piece: number): void {
    this.#say(name, { case: 'report', value: { blob: encodeBlobName(name), piece, peer } });
  }

  useless(peer: PeerId, name: BlobName): void {
    this.#say(name, { case: 'useless', value: { blob: encodeBlobName(name), peer } });
  }

  originProgress(name: BlobName, bytes: number): void {
    this.#say(name, { case: 'originProgress', value: { blob: encodeBlobName(name), bytes: BigInt(bytes) } });
  }

  originRelease(name: BlobName): void {
    this.#say(name, { case: 'originRelease', value: { blob: encodeBlobName(name) } });
  }

  name(key: Digest, news: NameNews): void {
    if (this.knowsNames) this.#send({ case: 'name', value: { key: rawOf(key), ...news } });
  }

  snapshots(message: SnapshotsSaid): void {
    if (this.knowsSnapshots) this.#send(message);
  }

  task(report: TaskReportInit): void {
    if ((this.#features & FEATURE_TASKS) !== 0n) this.#send({ case: 'taskReport', value: report });
  }

  /** An image without a snapshot was pulled. @returns whether there is a supernode that cares */
  firstPull(image: string, platform: string, sizeBytes: number): boolean {
    if (!this.isUp || (this.#features & FEATURE_TASKS) === 0n) return false;
    this.#send({
      case: 'firstPull',
      value: { image: { reference: image, platform }, sizeBytes: BigInt(sizeBytes) },
    });
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new DrakkarError('cancelled', 'the daemon stops'));
    await this.#channel?.close();
    await this.#running;
  }

  /** An older supernode would take it for something else about a blob that is not cut by a table. */
  #say(name: BlobName, message: FromDaemonInit): void {
    if (this.#knows(name)) this.#send(message);
  }

  #knows({ table }: BlobName): boolean {
    return table === undefined || (this.#features & FEATURE_TABLES) !== 0n;
  }

  #send(message: FromDaemonInit): void {
    this.#channel?.send({ message });
  }

  #unwant(name: BlobName): void {
    this.#wanted.delete(blobKeyOf(name));
    this.#toldAtMs.delete(blobKeyOf(name));
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    for (let failures = 0; !signal.aborted; ) {
      const upMs = await this.#connect().catch((cause: unknown) => {
        const error = toDrakkarError(cause, 'unavailable');
        if (!signal.aborted && this.#lastError?.message !== error.message) {
          this.#log.warn({ error }, 'the supernode is away');
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
    const { at, peer } = this.#address;
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
      this.#announceAll(channel);
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
      this.#events.changed();
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
        this.#events.changed();
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

  #announceAll(channel: Channel<typeof FromDaemonSchema, typeof FromSupernodeSchema>): void {
    for (const wanted of this.#wanted.values()) {
      if (!this.#knows(wanted.name)) continue;
      const what = wanted.isResting ? 'have' : 'want';
      channel.send({ message: { case: what, value: announcement(wanted, wanted.havePieces) } });
    }
    for (const blob of this.#events.complete()) {
      if (this.#wanted.has(blobKeyOf(blob.name)) || !this.#knows(blob.name)) continue;
      channel.send({ message: { case: 'have', value: announcement(blob, blob.pieces) } });
    }
  }

  #take({ message }: FromSupernode): void {
    switch (message.case) {
      case 'candidates': {
        const { blob, grant, upstream, peers } = message.value;
        this.#events.advice({
          blob: decodeBlobName(blob),
          grant,
          upstream,
          candidates: peers.flatMap((peer) => candidateOf(peer) ?? []),
        });
        break;
      }
      case 'named': {
        const { key, digest, sizeBytes, yours } = message.value;
        const known =
          digest.length === 0 ? undefined : { digest: digestFromRaw(digest), sizeBytes: Number(sizeBytes) };
        this.#events.named({ key: digestFromRaw(key), meaning: known ?? (yours ? 'yours' : 'wait') });
        break;
      }
      case 'found':
        this.#events.found(
          message.value,
          message.value.holders.flatMap((peer) => candidateOf(peer) ?? []),
        );
        break;
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
      case 'task':
        this.#events.task(message.value);
        break;
      case 'cancelTask':
        this.#events.cancelTask(message.value.id);
        break;
      case 'alive':
        this.#returnSpreadMs = Math.min(message.value.returnSpreadMs, MOST_SPREAD_MS);
        break;
      case 'refused':
        throw refusalOf(message.value);
      default:
        // Something that a later version says.
        break;
    }
  }
}

/** One that cannot be asked, or not by this version, is no reason to do without the others. */
function candidateOf({ peer, dataAddress, controlAddresses, complete }: PeerMessage): Candidate | undefined {
  try {
    return {
      peer: parsePeerId(peer),
      dataAddress: parseHostPort(dataAddress),
      controlAddresses: controlAddresses.map(parseHostPort),
      complete,
    };
  } catch {
    return undefined;
  }
}

function announcement({ name, sizeBytes, pieces }: AnnouncedBlob, havePieces: number) {
  return { blob: encodeBlobName(name), sizeBytes: BigInt(sizeBytes), pieces, havePieces };
}

function refusalOf({ code, message, hint }: { code: string; message: string; hint: string }): DrakkarError {
  const known = ERROR_CODES.find((each) => each === code) ?? 'unavailable';
  return new DrakkarError(known, `the supernode refuses this host: ${message}`, hint === '' ? {} : { hint });
}
