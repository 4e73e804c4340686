import { PieceSet } from './piece-set.ts';

/** What is gained close together is said together. */
const ANNOUNCE_MS = 5;
/**
 * Who knows of so many pieces that it lacks, from all whom it talks to, can wait for news of more, until there are many: a message costs as much
 * as a tenth of a piece.
 */
const ENOUGH = 48;
const ENOUGH_OF_ONE = 2;
/** For each conversation: so all others together hear something 25 times a second, however many they are and about however many blobs. */
const LAZY_MS = 40;
/** Well below the time after which a seed that hears nothing shows everybody everything. */
const MOST_LAZY_MS = 500;

/** What one peer is to be told of the pieces of a blob, and how soon. Pure state. */
export class Announcements {
  readonly #told: PieceSet;
  /** What it has said that it has. */
  readonly theirs: PieceSet;
  #waiting: number[] = [];
  /** The same pieces as {@link #waiting}. */
  readonly #unsaid: PieceSet;
  /** Pieces that it was told of and lacks. */
  #lacking = 0;
  /** Of those that wait, how many it lacks. */
  #wanted = 0;
  #isFirst = true;

  constructor(pieceCount: number) {
    this.#told = new PieceSet(pieceCount);
    this.theirs = new PieceSet(pieceCount);
    this.#unsaid = new PieceSet(pieceCount);
  }

  /** It is to hear of these, each once. */
  add(pieces: Iterable<number>): void {
    for (const piece of pieces) {
      if (!this.#told.add(piece)) continue;
      this.#waiting.push(piece);
      this.#unsaid.add(piece);
      if (!this.theirs.has(piece)) this.#wanted += 1;
    }
  }

  /** It says that it has these. */
  heard(pieces: Iterable<number>): void {
    for (const piece of pieces) {
      if (!this.theirs.add(piece) || !this.#told.has(piece)) continue;
      if (this.#unsaid.has(piece)) this.#wanted -= 1;
      else this.#lacking -= 1;
    }
  }

  /**
   * How soon what waits is to be said; `undefined` where nothing does.
   * @param conversations streams in which this host talks with others, about whatever blob
   */
  delayMs(conversations: number): number | undefined {
    if (this.#waiting.length === 0) return undefined;
    if (this.#isFirst) return 0;
    const enough = Math.max(ENOUGH_OF_ONE, Math.ceil(ENOUGH / conversations));
    const isHungry = this.#lacking < enough && this.#wanted > 0;
    // As many as there are others to tell: each piece that is gained costs about one message.
    const isMany = this.#wanted >= conversations;
    return isHungry || isMany ? ANNOUNCE_MS : Math.min(MOST_LAZY_MS, LAZY_MS * conversations);
  }

  /** What is said now. */
  take(): readonly number[] {
    const taken = this.#waiting;
    this.#waiting = [];
    for (const piece of taken) this.#unsaid.delete(piece);
    this.#lacking += this.#wanted;
    this.#wanted = 0;
    this.#isFirst = false;
    return taken;
  }
}
