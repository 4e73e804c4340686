import {
  areLabels,
  type BlobName,
  blobKeyOf,
  type Digest,
  DrakkarError,
  decodeBlobName,
  digestFromRaw,
  type EncodedBlobName,
  type FirstPullMessage,
  type FromDaemon,
  FromDaemonSchema,
  FromSupernodeSchema,
  fixedCut,
  formatHostPort,
  type HeartbeatMessage,
  type Hello,
  MAX_PIECES,
  type NameMessage,
  type PeerId,
  parseHostPort,
  parsePeerId,
  type TaskReportMessage,
  toDrakkarError,
} from '@drakkar/protocol';
import {
  Channel,
  FEATURE_TASKS,
  MEMBER_MESSAGE_BYTES,
  type PeerStream,
  PROTOCOL_VERSION,
  STRANGER_MESSAGE_BYTES,
} from '@drakkar/wire';
import type { SnapshotEvents } from '../snapshots/snapshots.ts';
import type { NameMeaning } from '../swarm/names.ts';
import type { BlobSize, ToldBefore } from '../swarm/swarm.ts';
import type { FromSupernodeInit } from './messages.ts';

/** What a session does to the supernode: every message of a daemon is one call. */
export interface SessionEvents {
  /** What is said about snapshots. */
  readonly snapshots: SnapshotEvents;
  /** What is said about tasks. */
  readonly tasks: TaskEvents;
  /** Does what a daemon's message asks for, as part of the trace that it names. */
  traced(message: FromDaemon, peer: PeerId, work: () => void): void;
  /** @returns what is said in answer. @throws `unauthorized` | `forbidden` */
  enter(session: Session, hello: Introduction): Welcome;
  leave(session: Session): void;
  heartbeat(peer: PeerId, heartbeat: HeartbeatMessage): void;
  want(peer: PeerId, blob: BlobSize, havePieces: number, before?: ToldBefore): void;
  have(peer: PeerId, blob: BlobSize, havePieces: number, cells: bigint): void;
  forget(peer: PeerId, blob: BlobName, what: { readonly want: boolean; readonly have: boolean }): void;
  report(reporter: PeerId, accused: PeerId, blob: BlobName, piece: number): void;
  useless(reporter: PeerId, parent: PeerId, blob: BlobName): void;
  originProgress(peer: PeerId, blob: BlobName, bytes: number): void;
  originRelease(peer: PeerId, blob: BlobName): void;
  name(peer: PeerId, key: Digest, news: NameNews): void;
}

export interface TaskEvents {
  /** How far a host is with what it was given to do. */
  heard(peer: PeerId, report: TaskReportMessage): void;
  /** An image without a snapshot was pulled. */
  firstPull(peer: PeerId, pull: FirstPullMessage): void;
}

/** What a daemon says about a name. */
export type NameNews =
  | { readonly kind: 'asks'; readonly sizeBytes: number }
  | { readonly kind: 'reads'; readonly readBytes: number }
  | { readonly kind: 'tells'; readonly meaning: NameMeaning }
  | { readonly kind: 'gives up' };

export interface Introduction {
  readonly peer: PeerId;
  readonly name: string;
  readonly membership: string;
  readonly joinSecret: string;
  readonly dataAddress: string;
  readonly controlAddresses: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly uploadSlots: number;
  readonly roles: readonly string[];
  /** Whether it does what it is given to do. */
  readonly doesTasks: boolean;
}

type Welcome = FromSupernodeInit;

const HELLO_MS = 10_000;
const REFUSAL_MS = 1_000;
const LIMITS = {
  name: 255,
  addresses: 8,
  uploadSlots: 1024,
  roles: 16,
  role: 64,
  pieces: MAX_PIECES,
};

/** One daemon's stream, from its hello to its end. */
export class Session {
  readonly peer: PeerId;
  readonly #channel: Channel<typeof FromSupernodeSchema, typeof FromDaemonSchema>;
  readonly #events: SessionEvents;
  #isRefused = false;
  #isBeatAnswered = false;

  constructor({ stream, peer }: PeerStream, events: SessionEvents) {
    this.peer = peer;
    this.#events = events;
    this.#channel = new Channel(stream, FromSupernodeSchema, FromDaemonSchema, {
      messageBytes: STRANGER_MESSAGE_BYTES,
      laterMessageBytes: MEMBER_MESSAGE_BYTES,
    });
  }

  send(message: FromSupernodeInit): void {
    this.#channel.send(message);
  }

  sendEncoded(message: Uint8Array): void {
    this.#channel.sendEncoded(message);
  }

  /** The answer to a heartbeat, or to every second one: ten thousand hosts send thousands a second. */
  alive(returnSpreadMs: number): void {
    this.#isBeatAnswered = !this.#isBeatAnswered;
    if (this.#isBeatAnswered) this.send({ message: { case: 'alive', value: { returnSpreadMs } } });
  }

  /** Serves it until it ends. Who speaks nonsense is told why, and cut off. */
  async run(): Promise<void> {
    try {
      const first = await this.#channel.receive(AbortSignal.timeout(HELLO_MS));
      if (first?.message.case !== 'hello') throw malformed('the first message is no hello');
      this.send(this.#events.enter(this, introductionOf(this.peer, first.message.value)));
      this.#channel.trust();
      for (;;) {
        const message = await this.#channel.receive();
        if (message === undefined || this.#isRefused) break;
        this.#events.traced(message, this.peer, () => this.#dispatch(message));
      }
    } catch (cause) {
      this.refuse(toDrakkarError(cause, 'unavailable'));
    } finally {
      this.#events.leave(this);
      await this.#channel.close();
    }
  }

  /** Says why, and ends the stream. */
  refuse(error: DrakkarError): void {
    const { code, message, hint = '' } = error;
    this.#isRefused = true;
    this.send({ message: { case: 'refused', value: { code, message, hint } } });
    void this.#channel.close();
    // Who does not hang up is hung up on.
    setTimeout(() => this.#channel.abort(error), REFUSAL_MS).unref();
  }

  #dispatch({ message }: FromDaemon): void {
    const { peer } = this;
    switch (message.case) {
      case 'heartbeat':
        this.#events.heartbeat(peer, message.value);
        break;
      case 'want':
        this.#events.want(peer, blobOf(message.value), message.value.havePieces, toldBefore(message.value));
        break;
      case 'have':
        this.#events.have(peer, blobOf(message.value), message.value.havePieces, message.value.cells);
        break;
      case 'forget': {
        const { blob, want, have } = message.value;
        this.#events.forget(peer, decodeBlobName(blob), { want, have });
        break;
      }
      case 'report': {
        const { blob, piece, peer: accused } = message.value;
        this.#events.report(peer, parsePeerId(accused), decodeBlobName(blob), piece);
        break;
      }
      case 'useless': {
        const { blob, peer: parent } = message.value;
        this.#events.useless(peer, parsePeerId(parent), decodeBlobName(blob));
        break;
      }
      case 'originProgress':
        this.#events.originProgress(peer, decodeBlobName(message.value.blob), Number(message.value.bytes));
        break;
      case 'originRelease':
        this.#events.originRelease(peer, decodeBlobName(message.value.blob));
        break;
      case 'name': {
        this.#events.name(peer, digestFromRaw(message.value.key), newsOf(message.value));
        break;
      }
      case 'announce':
        this.#events.snapshots.announce(peer, message.value.snapshot);
        break;
      case 'find':
        this.send(this.#events.snapshots.find(message.value));
        break;
      case 'lost':
        this.#events.snapshots.lost(peer, message.value);
        break;
      case 'learn':
        this.send(this.#events.snapshots.learn(message.value));
        break;
      case 'reportTrace':
        this.#events.snapshots.report(peer, message.value);
        break;
      case 'firstPull':
        this.#events.tasks.firstPull(peer, message.value);
        break;
      case 'taskReport':
        this.#events.tasks.heard(peer, message.value);
        break;
      case 'hello':
        throw malformed('a second hello');
      case undefined:
        // Something that a later version says.
        break;
    }
  }
}

function introductionOf(peer: PeerId, hello: Hello): Introduction {
  const { version, features, name, dataAddress, controlAddresses, labels, uploadSlots, roles } = hello;
  if (version < 1) throw malformed(`version ${version}; this speaks ${PROTOCOL_VERSION}`);
  if (name.length > LIMITS.name) throw malformed('its name is too long');
  if (controlAddresses.length > LIMITS.addresses) throw malformed('it names too many addresses');
  if (!areLabels(labels)) throw malformed('it has too many or too long labels');
  if (roles.length > LIMITS.roles || roles.some(({ length }) => length > LIMITS.role))
    throw malformed('it has too many or too long roles');
  return {
    peer,
    name,
    roles,
    doesTasks: (features & FEATURE_TASKS) !== 0n,
    membership: hello.membership,
    joinSecret: hello.joinSecret,
    dataAddress: formatHostPort(parseHostPort(dataAddress)),
    controlAddresses: controlAddresses.map((address) => formatHostPort(parseHostPort(address))),
    labels,
    uploadSlots: Math.min(Math.max(1, uploadSlots), LIMITS.uploadSlots),
  };
}

const toldBefore = ({
  upstream,
  returning,
}: {
  readonly upstream: boolean;
  readonly returning: boolean;
}): ToldBefore | undefined => {
  if (upstream) return 'upstream';
  return returning ? 'parents' : undefined;
};

function blobOf(message: {
  readonly blob?: EncodedBlobName | undefined;
  readonly sizeBytes: bigint;
  readonly pieces: number;
}): BlobSize {
  const name = decodeBlobName(message.blob);
  const sizeBytes = Number(message.sizeBytes);
  const { pieces } = message;
  // What a table says only those know who have it.
  const isCut = name.table !== undefined || pieces === fixedCut(sizeBytes).pieceCount;
  if (!Number.isSafeInteger(sizeBytes) || !isCut || pieces < 1 || pieces > LIMITS.pieces) {
    throw malformed(`${blobKeyOf(name)} is said to have ${sizeBytes} bytes in ${pieces} pieces`);
  }
  return { name, sizeBytes, pieces };
}

function newsOf({ sizeBytes: size, digest, readBytes, givesUp }: NameMessage): NameNews {
  const sizeBytes = Number(size);
  if (!Number.isSafeInteger(sizeBytes)) throw malformed(`a name means ${size} bytes`);
  if (digest.length > 0) return { kind: 'tells', meaning: { digest: digestFromRaw(digest), sizeBytes } };
  if (givesUp) return { kind: 'gives up' };
  return readBytes > 0n ? { kind: 'reads', readBytes: Number(readBytes) } : { kind: 'asks', sizeBytes };
}

function malformed(why: string): DrakkarError {
  return new DrakkarError('invalid_argument', `this daemon says what no daemon says: ${why}`);
}
