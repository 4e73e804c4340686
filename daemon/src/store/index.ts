/**
 * The store: content by digest in a directory, under an exact quota, right after any crash.
 *
 * Nothing counts as present before it is durable, nothing as complete before its digest matched. After an unclean stop
 * everything is read and compared before it is used again: in the background, and at once for what is asked for first.
 *
 * @example
 * ```ts
 * await using store = await openStore({ directory: '/var/lib/drakkar/daemon', quotaBytes: 50 * 2 ** 30 });
 * const writer = await store.writer({ digest, sizeBytes });
 * await writer.write(0, [bytes]);
 * await writer.finish();
 * await writer.close();
 * await using reader = await store.open(digest);
 * ```
 */
export type {
  ContentReader,
  ContentRemoved,
  Store,
  StoredContent,
  StoreUsage,
  WriterWanted,
} from './contract.ts';
export type { TagRow } from './index-file.ts';
export type { ContentKind } from './layout.ts';
export { STORE_DEFAULTS, type StoreOptions } from './options.ts';
export type { Reservation } from './quota.ts';
export { removeUnlessUsed } from './remove.ts';
export { openStore } from './store.ts';
export type { ContentWriter } from './writer.ts';
