/**
 * Content: a blob from the store, else from peers and upstream into the store, with everybody who wants it reading along.
 *
 * However many readers a blob has, ranged or not, it is downloaded once, from its start to its end. A reader gets bytes as
 * they arrive and the last one only after the digest of the whole has matched.
 *
 * @example
 * ```ts
 * const content = createContent({}, { store, client });
 * const receipt = newReceipt();
 * for await (const bytes of content.read({ image, digest }, receipt, { signal })) …
 * ```
 */
export { createContent, readRange } from './content.ts';
export type {
  BlobRequest,
  BlobSource,
  CompleteOptions,
  Content,
  FetchOptions,
  OpenedBlob,
  OpenOptions,
  Pass,
  PieceBlob,
  PieceBlobRequest,
  ReadOptions,
  SourceBlobRequest,
  WantOptions,
} from './contract.ts';
export { LARGEST_UNCONFIRMED_SHARE, SMALLEST_SHARED_BYTES } from './download.ts';
export { CONTENT_DEFAULTS, type ContentOptions } from './options.ts';
export { addReceipts, newReceipt, ReceiptCounter, receivedSince } from './receipt.ts';
