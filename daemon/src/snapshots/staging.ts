import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '@drakkar/protocol';
import type { OutputFile } from '@drakkar/snapshotter';
import type { Reservation } from '../store/index.ts';
import type { Store } from './modules.ts';

/** Pins of what is being put together; those that are left when the daemon starts belong to nobody. */
export const STAGING_HOLDER_PREFIX = 'staging:';

/** Where something is put together: a directory, space under the quota, and a name to pin content by. */
export interface Staging {
  readonly directory: string;
  readonly reservation: Reservation;
  readonly holder: string;
}

/** Does something with content, none of which is evicted meanwhile. */
export async function pinned<Value>(
  store: Store,
  digests: Iterable<Digest>,
  task: () => Promise<Value>,
): Promise<Value> {
  const holder = STAGING_HOLDER_PREFIX + randomUUID();
  try {
    for (const digest of digests) store.pin(digest, holder);
    return await task();
  } finally {
    store.unpin(holder);
  }
}

/** Moves what a build has left to the store, where it stays pinned. */
export async function adoptAll(
  store: Store,
  files: readonly OutputFile[],
  { reservation, holder }: Staging,
): Promise<void> {
  for (const { path, digest, sizeBytes, kind } of files)
    await store.adopt(path, digest, sizeBytes, kind, reservation, holder);
}

/**
 * Does something with a staging of its own, all of which is given back however it ends. What it pinned must be kept by a
 * mount by then, or may be evicted.
 */
export async function staged<Value>(
  store: Store,
  task: (staging: Staging) => Promise<Value>,
): Promise<Value> {
  const name = randomUUID();
  const directory = join(store.stagingDirectory, name);
  const holder = STAGING_HOLDER_PREFIX + name;
  await mkdir(directory, { recursive: true });
  using reservation = store.reserve(`staging ${name}`);
  try {
    return await task({ directory, reservation, holder });
  } finally {
    store.unpin(holder);
    await rm(directory, { recursive: true, force: true });
  }
}
