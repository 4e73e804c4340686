import {
  areLabels,
  type BlobName,
  DrakkarError,
  decodeBlobName,
  encodeBlobName,
  HaveMessageSchema,
  type HostPort,
  type Labels,
  type PeerId,
  parseHostPort,
  toDrakkarError,
} from '@drakkar/protocol';
import { Channel, FEATURES, type PeerStream, PROTOCOL_VERSION } from '@drakkar/wire';

/** The first message of either side, checked. */
export interface HaveOpening {
  readonly blob: BlobName;
  readonly sizeBytes: number;
  readonly membership: string;
  readonly grant: string;
  readonly dataAddress: HostPort;
  readonly labels: Labels;
}

/** A piece, and what its bytes must hash to. */
export interface KnownPiece {
  readonly piece: number;
  readonly sha256: Uint8Array;
}

export interface HaveEvents {
  /** Streams in which this host talks with others, about whatever blob. */
  readonly conversations: number;
  pieces(session: HaveSession, pieces: readonly KnownPiece[]): void;
  choked(session: HaveSession, choked: boolean): void;
}

const MESSAGE_BYTES = 256 * 1024;
const PIECES_OF_ONE_MESSAGE = 4096;
const OPENING_MS = 2_000;
/** What is gained close together is said together. */
const ANNOUNCE_MS = 5;
/**
 * Who knows of so many pieces that it lacks, from all whom it talks to, can wait for news of more: a message costs as much as a tenth of a
 * piece.
 */
const ENOUGH = 48;
const ENOUGH_OF_ONE = 2;
/** For each conversation: so all others together hear something 25 times a second, however many they are and about however many blobs. */
const LAZY_MS = 40;
/** Well below the time after which a seed that hears nothing shows everybody everything. */
const MOST_LAZY_MS = 500;
const SHA256_BYTES = 32;

/** What two peers tell each other about one blob: which pieces they have, and whether they serve each other at the moment. */
export class HaveSession {
  readonly peer: PeerId;
  /** Set by the opening of the other side. */
  dataAddress: HostPort = { host: '', port: 0 };
  labels: Labels = {};
  /** When it last said that it has gained something, or was sent something. */
  activeAtMs = performance.now();
  readonly #channel: Channel<typeof HaveMessageSchema, typeof HaveMessageSchema>;
  readonly #told = new Set<number>();
  readonly #theirs = new Map<number, KnownPiece>();
  #waiting: KnownPiece[] = [];
  /** Pieces that it was told of and lacks. */
  readonly #lacking = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  #dueAtMs = 0;
  #events: HaveEvents | undefined;

  constructor({ stream, peer }: PeerStream) {
    this.peer = peer;
    this.#channel = new Channel(stream, HaveMessageSchema, HaveMessageSchema, {
      messageBytes: MESSAGE_BYTES,
    });
  }

  touch(): void {
    this.activeAtMs = performance.now();
  }

  /** Whether the other side has not said yet that it has anything. */
  get isSilent(): boolean {
    return this.#theirs.size === 0;
  }

  /** What the other side has said that it has. */
  get has(): readonly KnownPiece[] {
    return [...this.#theirs.values()];
  }

  open({
    blob,
    sizeBytes,
    membership,
    grant,
    dataAddress,
    labels,
  }: Omit<HaveOpening, 'dataAddress'> & { dataAddress: string }): void {
    this.#channel.send({
      message: {
        case: 'open',
        value: {
          version: PROTOCOL_VERSION,
          features: FEATURES,
          membership,
          ...encodeBlobName(blob),
          sizeBytes: BigInt(sizeBytes),
          grant,
          dataAddress,
          labels: { ...labels },
        },
      },
    });
  }

  /** What the other side begins with. @throws `invalid_content` | `unavailable` | `timeout` where nothing comes */
  async opening(): Promise<HaveOpening> {
    const first = await this.#channel.receive(AbortSignal.timeout(OPENING_MS));
    if (first === undefined) throw new DrakkarError('not_found', `${this.peer} has nothing of the blob`);
    if (first.message.case !== 'open') throw malformed('its first message does not open anything');
    const { membership, grant, sizeBytes, dataAddress, labels, version } = first.message.value;
    if (version < 1) throw malformed(`version ${version}`);
    if (!areLabels(labels)) throw malformed('too many or too long labels');
    const opening = {
      blob: decodeBlobName(first.message.value),
      sizeBytes: Number(sizeBytes),
      membership,
      grant,
      dataAddress: parseHostPort(dataAddress),
      labels,
    };
    this.dataAddress = opening.dataAddress;
    this.labels = labels;
    return opening;
  }

  /** Listens until the end. @throws `invalid_content` for what no peer says; `unavailable` */
  async run(pieceCount: number, events: HaveEvents): Promise<void> {
    this.#events = events;
    for (;;) {
      const received = await this.#channel.receive();
      if (received === undefined) return;
      const { message } = received;
      if (message.case === 'pieces') {
        const { index, sha256 } = message.value;
        if (index.length > PIECES_OF_ONE_MESSAGE || sha256.length !== index.length * SHA256_BYTES) {
          throw malformed('pieces without their sha256');
        }
        if (index.some((piece) => piece >= pieceCount)) throw malformed('a piece beyond the end');
        const pieces = index.map((piece, at) => ({
          piece,
          sha256: sha256.slice(at * SHA256_BYTES, (at + 1) * SHA256_BYTES),
        }));
        this.#learn(pieces);
        this.touch();
        events.pieces(this, pieces);
      } else if (message.case === 'choke') {
        events.choked(this, message.value.choked);
      } else if (message.case === 'open') {
        throw malformed('it opens twice');
      }
    }
  }

  /** Tells of pieces that have not been told of: of the first ones at once. */
  announce(pieces: readonly KnownPiece[]): void {
    const isFirst = this.#told.size === 0;
    for (const known of pieces) {
      if (this.#told.has(known.piece)) continue;
      this.#told.add(known.piece);
      this.#waiting.push(known);
    }
    if (isFirst) this.#flush();
    else this.#schedule();
  }

  choke(choked: boolean): void {
    this.#channel.send({ message: { case: 'choke', value: { choked } } });
  }

  close(): void {
    clearTimeout(this.#timer);
    void this.#channel.close();
  }

  abort(cause: unknown): void {
    clearTimeout(this.#timer);
    this.#channel.abort(toDrakkarError(cause, 'unavailable'));
  }

  #learn(pieces: readonly KnownPiece[]): void {
    for (const known of pieces) {
      this.#lacking.delete(known.piece);
      this.#theirs.set(known.piece, known);
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#waiting.length === 0) return;
    const delayMs = this.#delayMs();
    const dueAtMs = performance.now() + delayMs;
    if (this.#timer !== undefined && dueAtMs >= this.#dueAtMs) return;
    clearTimeout(this.#timer);
    this.#dueAtMs = dueAtMs;
    this.#timer = setTimeout(() => this.#flush(), delayMs);
  }

  /** How soon what waits is to be said. */
  #delayMs(): number {
    const conversations = this.#events?.conversations ?? 1;
    const enough = Math.max(ENOUGH_OF_ONE, Math.ceil(ENOUGH / conversations));
    const isHungry =
      this.#lacking.size < enough && this.#waiting.some(({ piece }) => !this.#theirs.has(piece));
    return isHungry ? ANNOUNCE_MS : Math.min(MOST_LAZY_MS, LAZY_MS * conversations);
  }

  #flush(): void {
    this.#timer = undefined;
    for (const { piece } of this.#waiting) if (!this.#theirs.has(piece)) this.#lacking.add(piece);
    for (let at = 0; at < this.#waiting.length; at += PIECES_OF_ONE_MESSAGE) {
      const part = this.#waiting.slice(at, at + PIECES_OF_ONE_MESSAGE);
      this.#channel.send({
        message: {
          case: 'pieces',
          value: {
            index: part.map(({ piece }) => piece),
            sha256: Buffer.concat(part.map(({ sha256 }) => sha256)),
          },
        },
      });
    }
    this.#waiting = [];
  }
}

function malformed(what: string): DrakkarError {
  return new DrakkarError('invalid_content', `this peer says what no peer says: ${what}`);
}
