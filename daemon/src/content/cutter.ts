import { createHash, type Hash } from 'node:crypto';
import { type Cut, lengthOf } from '@drakkar/protocol';

/** A piece whose bytes are all here, and what they hash to. */
export interface WholePiece {
  readonly piece: number;
  readonly buffers: readonly Buffer[];
  readonly sha256: Buffer;
}

/** Makes whole pieces of bytes that come in order. */
export class PieceCutter {
  readonly #cut: Cut;
  #piece: number;
  #buffers: Buffer[] = [];
  #left: number;
  #hash: Hash = createHash('sha256');

  /** @param first the piece with which the bytes begin */
  constructor(cut: Cut, first: number) {
    this.#cut = cut;
    this.#piece = first;
    this.#left = lengthOf(cut, first);
  }

  /** The pieces that these bytes complete. */
  *take(bytes: Buffer): Generator<WholePiece, void, undefined> {
    for (let rest = bytes; rest.length > 0; ) {
      const part = rest.subarray(0, this.#left);
      rest = rest.subarray(part.length);
      this.#hash.update(part);
      this.#buffers.push(part);
      this.#left -= part.length;
      if (this.#left > 0) return;
      const whole = { piece: this.#piece, buffers: this.#buffers, sha256: this.#hash.digest() };
      this.#piece += 1;
      this.#buffers = [];
      this.#left = lengthOf(this.#cut, this.#piece);
      this.#hash = createHash('sha256');
      yield whole;
      // What comes behind the last piece is none.
      if (this.#left === 0) return;
    }
  }
}
