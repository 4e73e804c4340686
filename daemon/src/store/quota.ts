import { DrakkarError } from '@drakkar/protocol';

/** Space that is set aside for files in the making. Given back when its scope ends, but for what was taken. */
export interface Reservation extends Disposable {
  readonly purpose: string;
  readonly bytes: number;
  /** Sets more aside; evicts where that is needed. @throws `no_space` */
  grow(bytes: number): void;
  /** Gives a part back, or hands it over to content that now counts itself. */
  shrink(bytes: number): void;
}

/**
 * Exact accounting: content and reservations together never pass the quota. `evict` makes room of at least the given number
 * of bytes, or does nothing and returns false.
 */
export class Quota {
  readonly limitBytes: number;
  #contentBytes: number;
  #reservedBytes = 0;
  readonly #evict: (bytes: number) => boolean;

  constructor(limitBytes: number, contentBytes: number, evict: (bytes: number) => boolean) {
    this.limitBytes = limitBytes;
    this.#contentBytes = contentBytes;
    this.#evict = evict;
  }

  get contentBytes(): number {
    return this.#contentBytes;
  }

  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** Content is in the index now, under space that was reserved before. */
  added(bytes: number): void {
    this.#contentBytes += bytes;
  }

  removed(bytes: number): void {
    this.#contentBytes -= bytes;
  }

  reserve(purpose: string, bytes: number): Reservation {
    const held = new HeldSpace(purpose, (delta) => this.#move(purpose, delta));
    held.grow(bytes);
    return held;
  }

  #move(purpose: string, delta: number): void {
    if (delta > 0) this.#admit(purpose, delta);
    this.#reservedBytes += delta;
  }

  #admit(purpose: string, bytes: number): void {
    const missing = this.#contentBytes + this.#reservedBytes + bytes - this.limitBytes;
    if (missing <= 0 || this.#evict(missing)) return;
    throw new DrakkarError('no_space', `the store has no room for ${bytes} more bytes (${purpose})`, {
      hint: 'raise store.quotaBytes, or unmount or remove snapshots that are no longer needed',
      details: {
        purpose,
        wantedBytes: bytes,
        quotaBytes: this.limitBytes,
        contentBytes: this.#contentBytes,
        reservedBytes: this.#reservedBytes,
      },
    });
  }
}

class HeldSpace implements Reservation {
  readonly purpose: string;
  readonly #move: (delta: number) => void;
  #bytes = 0;

  constructor(purpose: string, move: (delta: number) => void) {
    this.purpose = purpose;
    this.#move = move;
  }

  get bytes(): number {
    return this.#bytes;
  }

  grow(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new DrakkarError('invalid_argument', `${bytes} bytes cannot be reserved (${this.purpose})`);
    }
    this.#move(bytes);
    this.#bytes += bytes;
  }

  shrink(bytes: number): void {
    const given = Math.min(bytes, this.#bytes);
    this.#bytes -= given;
    this.#move(-given);
  }

  [Symbol.dispose](): void {
    this.shrink(this.#bytes);
  }
}
