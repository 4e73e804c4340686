import { join } from 'node:path';
import {
  DrakkarError,
  hexOf,
  type PieceTable,
  type SnapshotConfig,
  type VolumeFile,
} from '@drakkar/protocol';
import { expandBlob } from '@drakkar/snapshotter';
import type { Image } from './images.ts';
import {
  allDigests,
  blobsOf,
  type Extent,
  filesWithin,
  isLocal,
  type Modules,
  rawDigests,
} from './modules.ts';
import { type Staging, staged } from './staging.ts';
import type { Work } from './work.ts';

/** Whom blobs are had from: the registry says whether it would give them, or other hosts are asked without it, piece by piece. */
export type Source = 'registry' | 'cluster';

/** A snapshot that nobody gives a piece of for so long is come by in another way. */
const SILENCE_MS = 10_000;
/** Of the start of a blob; a meta has hardly more. */
const URGENT_PIECES = 32;

/**
 * Brings back raw files that were evicted, from blobs that still are in the store. Nobody has to be asked.
 *
 * @returns whether all that is wanted is here now
 */
export async function restoreFiles(
  image: Image,
  config: SnapshotConfig,
  extent: Extent,
  modules: Modules,
  work: Work,
): Promise<boolean> {
  const { store } = modules;
  await store.verify(allDigests(config));
  const evicted = filesWithin(config, extent).filter(({ rawDigest }) => !store.has(rawDigest, 'volume'));
  if (!evicted.flatMap(blobsOf).every(({ digest }) => store.has(digest))) return false;
  return staged(store, async (staging) => {
    for (const digest of rawDigests(config)) store.pin(digest, staging.holder);
    const fetching = { image, source: 'registry', staging, onBytes: () => {} } as const;
    for (const file of evicted) await fetchFile(file, fetching, modules, work);
    return isLocal(config, extent, store);
  });
}

export interface Fetching {
  readonly image: Image;
  readonly source: Source;
  readonly staging: Staging;
  /** Called with each number of bytes that has arrived. */
  onBytes(bytes: number): void;
  /** Called when a file's blob has come, where that is known before it is verified as a whole. */
  onArrived?(): void;
}

/** Fetches those files of a snapshot that are not here. All are pinned for the staging. */
export async function fetchFiles(
  files: readonly VolumeFile[],
  fetching: Fetching,
  modules: Modules,
  work: Work,
): Promise<void> {
  const { store } = modules;
  for (const file of files) {
    store.pin(file.rawDigest, fetching.staging.holder);
    await store.verify([file.rawDigest]);
    if (!store.has(file.rawDigest, 'volume')) await fetchFile(file, fetching, modules, work);
  }
}

/** Fetches one file's blobs and makes its raw form. */
async function fetchFile(file: VolumeFile, fetching: Fetching, modules: Modules, work: Work): Promise<void> {
  const { image, source, onBytes } = fetching;
  const { directory, reservation, holder } = fetching.staging;
  const { content, store } = modules;
  const [blob, pieces] = blobsOf(file);
  for (const { digest } of [blob, pieces]) store.pin(digest, holder);
  const call = { signal: work.signal, onBytes };
  const table = await content.pieceTable({ image: image.reference, ...pieces }, work.receipt, call);
  if (source === 'cluster' && !store.has(blob.digest)) {
    await fetchPieces(file, table, fetching, modules, work);
  } else {
    await content.fetch({ image: image.reference, ...blob }, work.receipt, call);
    await content.offerPieces(image.reference, blob.digest, pieces.digest);
  }
  const outputPath = join(directory, hexOf(file.rawDigest));
  reservation.grow(file.rawSizeBytes);
  const blobPath = store.pathOf(blob.digest);
  await expandBlob({ blobPath, table, file, outputPath }, { signal: work.signal });
  await store.adopt(outputPath, file.rawDigest, file.rawSizeBytes, 'volume', reservation, holder);
}

/** @throws `timeout` when nothing of it comes any more; why it can't be had */
async function fetchPieces(
  { blobDigest: digest, blobSizeBytes: sizeBytes, piecesDigest }: VolumeFile,
  table: PieceTable,
  { image, onBytes, onArrived }: Fetching,
  { content }: Modules,
  work: Work,
): Promise<void> {
  const request = { image: image.reference, digest, sizeBytes };
  await using blob = await content.openPieces(request, { digest: piecesDigest, table }, work.receipt);
  const silence = new AbortController();
  let before = -1;
  const looking = setInterval(() => {
    if (blob.presentPieces === before) {
      silence.abort(new DrakkarError('timeout', `nobody gives ${digest}`));
    }
    before = blob.presentPieces;
  }, SILENCE_MS);
  try {
    const signal = AbortSignal.any([work.signal, silence.signal]);
    // Somebody waits for it: what is small comes at once, whoever else is served.
    const first = table.pieces.slice(0, URGENT_PIECES).map((_, piece) => piece);
    await blob.want(first, { urgent: true, signal });
    if (first.length === table.pieces.length) onArrived?.();
    await blob.complete({ signal });
    onBytes(sizeBytes);
  } finally {
    clearInterval(looking);
  }
}
