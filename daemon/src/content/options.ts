export interface ContentOptions {
  /** How long a download goes on when its last reader has left; then what it has is kept for the next. */
  readonly graceMs: number;
  /** Downloads at the same time, for all readers. More are refused. */
  readonly maxDownloads: number;
}

export const CONTENT_DEFAULTS: ContentOptions = { graceMs: 2_000, maxDownloads: 256 };
