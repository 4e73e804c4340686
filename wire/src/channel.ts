import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { DrakkarError, toDrakkarError } from '@drakkar/protocol';
import type { Stream } from '@libp2p/interface';
import { type LengthPrefixedStream, lpStream } from '@libp2p/utils';

export interface ChannelLimits {
  /** Of one message that comes in. A longer one ends the stream before it is read. */
  readonly messageBytes: number;
  /** The same once {@link Channel.trust} was called. */
  readonly laterMessageBytes?: number;
  /** Of what waits to be sent to a peer that does not read. Beyond that the stream ends. */
  readonly queuedBytes: number;
}

const DEFAULT_LIMITS: ChannelLimits = { messageBytes: 1024 * 1024, queuedBytes: 8 * 1024 * 1024 };

/** Messages of one kind out and of another in, over one stream. */
export class Channel<Sent extends DescMessage, Received extends DescMessage> {
  readonly #stream: Stream;
  readonly #framed: LengthPrefixedStream<Stream>;
  readonly #sent: Sent;
  readonly #received: Received;
  readonly #limits: ChannelLimits;
  /** Looked at before each message is read. */
  readonly #framing: { maxDataLength: number };
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #sending: Promise<void> | undefined;

  constructor(stream: Stream, sent: Sent, received: Received, limits: Partial<ChannelLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#stream = stream;
    this.#sent = sent;
    this.#received = received;
    const { messageBytes, laterMessageBytes = messageBytes } = this.#limits;
    const framing = {
      maxDataLength: messageBytes,
      maxLengthLength: lengthOfLength(laterMessageBytes),
      maxBufferSize: 2 * laterMessageBytes,
    };
    this.#framing = framing;
    this.#framed = lpStream(stream, framing);
  }

  /** Whoever speaks is known now, and may say more in one message. */
  trust(): void {
    this.#framing.maxDataLength = this.#limits.laterMessageBytes ?? this.#limits.messageBytes;
  }

  get isOpen(): boolean {
    return this.#stream.status === 'open';
  }

  /** Puts a message in the queue; what is queued together leaves together. A stream that has ended takes nothing. */
  send(message: MessageInitShape<Sent>): void {
    if (this.isOpen) this.sendEncoded(toBinary(this.#sent, create(this.#sent, message)));
  }

  /** As {@link send}, a message that is encoded already. */
  sendEncoded(bytes: Uint8Array): void {
    if (!this.isOpen) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > this.#limits.queuedBytes) {
      this.abort(new DrakkarError('limit_exceeded', 'the peer does not read what it is sent'));
      return;
    }
    this.#sending ??= this.#sendAll();
  }

  /** The next message, or `undefined` at the end. @throws `invalid_content` for what is none; `unavailable` | `cancelled` */
  async receive(signal?: AbortSignal): Promise<MessageShape<Received> | undefined> {
    let bytes: Uint8Array;
    try {
      bytes = (await this.#framed.read(signal === undefined ? {} : { signal })).subarray();
    } catch (cause) {
      if (signal?.aborted === true) throw toDrakkarError(signal.reason, 'cancelled');
      const name = cause instanceof Error ? cause.name : '';
      if (name === 'UnexpectedEOFError' || name === 'StreamClosedError') return undefined;
      const code = name.startsWith('InvalidDataLength') || name === 'InvalidMessageLengthError';
      throw new DrakkarError(
        code ? 'invalid_content' : 'unavailable',
        `the stream broke: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    }
    try {
      return fromBinary(this.#received, bytes);
    } catch (cause) {
      throw new DrakkarError('invalid_content', 'a message is not what its protocol says', { cause });
    }
  }

  /** Sends what is queued, and ends the stream. */
  async close(): Promise<void> {
    await this.#sending;
    await this.#stream.close().catch((error: unknown) => this.abort(toDrakkarError(error, 'unavailable')));
  }

  abort(error: DrakkarError): void {
    this.#queue = [];
    this.#stream.abort(error);
  }

  async #sendAll(): Promise<void> {
    // What is said in the same turn goes out as one write.
    await Promise.resolve();
    try {
      while (this.#queue.length > 0) {
        const batch = this.#queue;
        this.#queue = [];
        this.#queuedBytes = 0;
        await this.#framed.writeV(batch);
      }
    } catch (error) {
      this.abort(toDrakkarError(error, 'unavailable'));
    } finally {
      this.#sending = undefined;
    }
  }
}

/** Of an unsigned varint, in which 7 bits of each byte count. */
function lengthOfLength(bytes: number): number {
  return Math.ceil(bytes.toString(2).length / 7);
}
