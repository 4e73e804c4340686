export interface ContentOptions {
  /** How long a download goes on when its last reader has left; then what it has is kept for the next. */
  readonly graceMs: number;
  /** Without a piece for so long, a download makes way for another source of the same content that somebody waits with. */
  readonly silenceMs: number;
  /** Downloads at the same time, for all readers. More are refused. */
  readonly maxDownloads: number;
  /** Blobs of which pieces are had at the same time: each holds a file open. More are refused. */
  readonly maxPieceBlobs: number;
}

export const CONTENT_DEFAULTS: ContentOptions = {
  graceMs: 2_000,
  silenceMs: 10_000,
  maxDownloads: 256,
  maxPieceBlobs: 4096,
};
