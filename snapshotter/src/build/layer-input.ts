import { DrakkarError } from '@drakkar/protocol';

/** Cuts the builder's input, the layers' blobs one after the other, back into layers. */
export class LayerInput {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();
  /** Bytes of the current layer that were not taken yet. */
  #missing = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /**
   * The next `sizeBytes` of the input, after what is left of the layer before.
   * @throws `unavailable` where the input ends early
   */
  async *layer(sizeBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
    while (this.#missing > 0) await this.#take();
    this.#missing = sizeBytes;
    while (this.#missing > 0) yield await this.#take();
  }

  async #take(): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const next = await this.#source.next();
      if (next.done) throw new DrakkarError('unavailable', `the layer ends ${this.#missing} bytes early`);
      this.#rest = next.value;
    }
    const part = this.#rest.subarray(0, this.#missing);
    this.#rest = this.#rest.subarray(part.length);
    this.#missing -= part.length;
    return part;
  }
}
