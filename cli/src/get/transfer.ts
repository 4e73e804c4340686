import type { AdminClient, GetResult } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import type { Digest } from '@drakkar/protocol';

/** Where content goes, from its first byte on. */
export interface Sink {
  /** That are there, and hashed. */
  readonly bytes: number;
  take(bytes: Buffer): Promise<void>;
  /** Begins anew. @throws where what is there cannot be taken back */
  restart(): Promise<void>;
  /** Of what is there. */
  digest(): Digest;
}

interface Readable {
  readonly content: Digest;
  readonly sizeBytes: number;
}

/** Takes content from the daemon while it arrives there, and makes sure in the end that it is what the daemon has. */
export class Transfer {
  readonly #client: AdminClient;
  readonly #sink: Sink;
  readonly #failing = new AbortController();
  readonly #signal: AbortSignal;
  #taking:
    | { readonly content: Digest; readonly ended: Promise<void>; readonly stop: AbortController }
    | undefined;

  constructor(client: AdminClient, sink: Sink, signal: AbortSignal) {
    this.#client = client;
    this.#sink = sink;
    this.#signal = AbortSignal.any([signal, this.#failing.signal]);
  }

  /** Aborts when the caller wants no more, or the sink takes no more. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** What the sink threw. */
  get failure(): unknown {
    return this.#failing.signal.reason;
  }

  /** The daemon has begun to have something; a second time, where it has begun anew. */
  begin(readable: Readable): void {
    const before = this.#taking;
    before?.stop.abort();
    const stop = new AbortController();
    const take = async () => {
      await before?.ended;
      if (before !== undefined && before.content !== readable.content)
        await this.#intoSink(() => this.#sink.restart());
      await this.#take(readable, AbortSignal.any([this.#signal, stop.signal]));
    };
    // What the daemon cannot give now is asked for once more in the end.
    this.#taking = { content: readable.content, stop, ended: take().catch(() => {}) };
  }

  /** Returns when the sink has all of it. @throws `invalid_content` where that is not what was fetched */
  async end({ content, sizeBytes }: GetResult): Promise<void> {
    await this.#taking?.ended;
    if (this.#failing.signal.aborted) throw this.failure;
    await this.#take({ content, sizeBytes }, this.#signal);
    if (this.#sink.digest() === content) return;
    await this.#sink.restart();
    await this.#take({ content, sizeBytes }, this.#signal);
    if (this.#sink.digest() === content) return;
    throw new DrakkarError('invalid_content', 'what was written is not what was fetched', {
      hint: 'does another command write there? Then try again',
    });
  }

  async #take({ content, sizeBytes }: Readable, signal: AbortSignal): Promise<void> {
    if (this.#sink.bytes > sizeBytes) await this.#intoSink(() => this.#sink.restart());
    const startBytes = this.#sink.bytes;
    if (startBytes === sizeBytes) return;
    const chunks = await this.#client.content(content, { startBytes, endBytes: sizeBytes }, signal);
    for await (const chunk of chunks) await this.#intoSink(() => this.#sink.take(chunk));
  }

  /** A sink that fails ends everything. */
  async #intoSink(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#failing.abort(error);
      throw error;
    }
  }
}
