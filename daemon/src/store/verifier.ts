import { type Digest, toDrakkarError } from '@drakkar/protocol';
import type { ContentRow, IndexFile } from './index-file.ts';
import type { Layout } from './layout.ts';
import { type Findings, verifyContent, verifyContentNow } from './verify.ts';

/** Reads what an unclean stop left unverified, and takes away what is not what the index says. */
export class Verifier {
  readonly #index: IndexFile;
  readonly #layout: Layout;
  readonly #remove: (row: ContentRow) => void;
  readonly #closing: AbortSignal;

  constructor(index: IndexFile, layout: Layout, remove: (row: ContentRow) => void, closing: AbortSignal) {
    this.#index = index;
    this.#layout = layout;
    this.#remove = remove;
    this.#closing = closing;
  }

  /** The most recently used first. What cannot be read stays unverified, and is tried again when it is asked for. */
  async verifyAll(isClaimed: (digest: Digest) => boolean): Promise<void> {
    for (const row of this.#index.list()) {
      if (row.verified || isClaimed(row.digest)) continue;
      await this.verify(row).catch(() => {});
      if (this.#closing.aborted) return;
    }
  }

  async verify(row: ContentRow): Promise<void> {
    const path = this.#layout.file(row.kind, row.digest);
    const findings = await verifyContent(path, row, this.#index.pieces(row.digest), this.#closing);
    this.#settle(row, findings);
  }

  /** @returns whether complete content is good */
  verifyNow(row: ContentRow): boolean {
    if (row.verified) return true;
    try {
      const path = this.#layout.file(row.kind, row.digest);
      return this.#settle(row, verifyContentNow(path, row, this.#index.pieces(row.digest)));
    } catch (error) {
      throw toDrakkarError(error, 'unavailable');
    }
  }

  /** What was settled or replaced meanwhile is left as it is. */
  #settle(row: ContentRow, { badPieces, badWhole }: Findings): boolean {
    const now = this.#index.find(row.digest);
    if (now === undefined || now.verified) return now?.complete === true;
    if (badWhole || (badPieces.length > 0 && row.kind === 'volume')) {
      this.#remove(now);
      return false;
    }
    const complete = now.complete && badPieces.length === 0;
    this.#index.transaction(() => {
      for (const piece of badPieces) this.#index.removePiece(row.digest, piece);
      this.#index.setState(row.digest, { complete, verified: true });
    });
    return complete;
  }
}
