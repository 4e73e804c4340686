import type { PeerId } from '@drakkar/protocol';

/** Of one peer, in service and waiting. */
const REQUESTS_OF_ONE_PEER = 8;

/** A request that a slot was asked for. */
export interface SlotRequest {
  readonly peer: PeerId;
  /** It is its turn. */
  readonly begin: () => void;
}

/** Serves so many requests at a time; as many more wait in the order in which they came. Pure state. */
export class Slots {
  readonly limit: number;
  readonly #pressed: (isPressed: boolean) => void;
  readonly #waiting: SlotRequest[] = [];
  readonly #ofPeer = new Map<PeerId, number>();
  #isPressed = false;
  #taken = 0;

  /** @param pressed whether requests wait, when that changes */
  constructor(limit: number, pressed: (isPressed: boolean) => void) {
    this.limit = limit;
    this.#pressed = pressed;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Begins at once, or when others have given back theirs. @returns false where too many wait already */
  take(request: SlotRequest): boolean {
    const ofPeer = this.#ofPeer.get(request.peer) ?? 0;
    if (ofPeer >= REQUESTS_OF_ONE_PEER || this.#waiting.length >= this.limit) return false;
    this.#ofPeer.set(request.peer, ofPeer + 1);
    if (this.#taken < this.limit) {
      this.#taken += 1;
      request.begin();
    } else {
      this.#waiting.push(request);
      this.#press();
    }
    return true;
  }

  /** A request has ended, or nobody waits for its answer any more. */
  give(request: SlotRequest): void {
    const left = (this.#ofPeer.get(request.peer) ?? 0) - 1;
    if (left > 0) this.#ofPeer.set(request.peer, left);
    else this.#ofPeer.delete(request.peer);
    const index = this.#waiting.indexOf(request);
    if (index >= 0) {
      this.#waiting.splice(index, 1);
    } else {
      this.#taken -= 1;
      const next = this.#waiting.shift();
      if (next !== undefined) {
        this.#taken += 1;
        next.begin();
      }
    }
    this.#press();
  }

  #press(): void {
    const isPressed = this.#waiting.length > (this.#isPressed ? 0 : this.limit / 2);
    if (isPressed === this.#isPressed) return;
    this.#isPressed = isPressed;
    this.#pressed(isPressed);
  }
}
