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
import { Announcements } from './announcements.ts';

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
const SHA256_BYTES = 32;

/** About the pieces of one blob. */
interface Talk {
  readonly pieceCount: number;
  readonly events: HaveEvents;
  readonly announcements: Announcements;
}

/** What two peers tell each other about one blob: which pieces they have, and whether they serve each other at the moment. */
export class HaveSession {
  readonly peer: PeerId;
  /** Set by the opening of the other side. */
  dataAddress: HostPort = { host: '', port: 0 };
  labels: Labels = {};
  /** When it last said that it has gained something, or was sent something. */
  activeAtMs = performance.now();
  readonly #channel: Channel<typeof HaveMessageSchema, typeof HaveMessageSchema>;
  readonly #theirs = new Map<number, KnownPiece>();
  /** What the pieces hash to that wait to be said. */
  readonly #hashes = new Map<number, Uint8Array>();
  #talk: Talk | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  #dueAtMs = 0;

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

  /** Both sides have opened: they tell each other of the pieces of a blob from now on. */
  begin(pieceCount: number, events: HaveEvents): void {
    this.#talk = { pieceCount, events, announcements: new Announcements(pieceCount) };
  }

  /** Listens until the end, once it has begun. @throws `invalid_content` for what no peer says; `unavailable` */
  async run(): Promise<void> {
    const talk = this.#begun;
    const { pieceCount, events } = talk;
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
        for (const known of pieces) this.#theirs.set(known.piece, known);
        talk.announcements.heard(index);
        this.#schedule(talk);
        this.touch();
        events.pieces(this, pieces);
      } else if (message.case === 'choke') {
        events.choked(this, message.value.choked);
      } else if (message.case === 'open') {
        throw malformed('it opens twice');
      }
    }
  }

  /** Tells of pieces that have not been told of: of the first ones at once. Once it has begun. */
  announce(pieces: readonly KnownPiece[]): void {
    const talk = this.#begun;
    for (const { piece, sha256 } of pieces) this.#hashes.set(piece, sha256);
    talk.announcements.add(pieces.map(({ piece }) => piece));
    this.#schedule(talk);
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

  get #begun(): Talk {
    if (this.#talk === undefined) throw new DrakkarError('internal', 'the session has not begun');
    return this.#talk;
  }

  #schedule({ announcements, events }: Talk): void {
    const delayMs = announcements.delayMs(events.conversations);
    if (delayMs === undefined) return;
    if (delayMs === 0) {
      this.#flush(announcements);
      return;
    }
    const dueAtMs = performance.now() + delayMs;
    if (this.#timer !== undefined && dueAtMs >= this.#dueAtMs) return;
    clearTimeout(this.#timer);
    this.#dueAtMs = dueAtMs;
    this.#timer = setTimeout(() => this.#flush(announcements), delayMs);
  }

  #flush(announcements: Announcements): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const said = announcements.take();
    for (let at = 0; at < said.length; at += PIECES_OF_ONE_MESSAGE) {
      const part = said.slice(at, at + PIECES_OF_ONE_MESSAGE).flatMap((piece) => {
        const sha256 = this.#hashes.get(piece);
        return sha256 === undefined ? [] : [{ piece, sha256 }];
      });
      const value = {
        index: part.map(({ piece }) => piece),
        sha256: Buffer.concat(part.map(({ sha256 }) => sha256)),
      };
      this.#channel.send({ message: { case: 'pieces', value } });
    }
    this.#hashes.clear();
  }
}

function malformed(what: string): DrakkarError {
  return new DrakkarError('invalid_content', `this peer says what no peer says: ${what}`);
}
