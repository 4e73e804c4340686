import { type KeyObject, randomUUID } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildResult } from '@drakkar/client';
import {
  type Descriptor,
  type Digest,
  DrakkarError,
  decodePieceTable,
  digestOf,
  encodePublicKey,
  formatPlatform,
  hexOf,
  type ImageReference,
  isDrakkarError,
  MAX_SNAPSHOT_CONFIG_BYTES,
  parseImageConfig,
  SNAPSHOT_MEDIA_TYPES,
  type VolumeFile,
} from '@drakkar/protocol';
import {
  type BuildLimits,
  buildSnapshot,
  composeArtifact,
  expandBlob,
  openArtifact,
  parseArtifact,
} from '@drakkar/snapshotter';
import type { BlobRequest, ReceiptCounter } from '../content/index.ts';
import type { Reservation } from '../store/index.ts';
import type { ResolvedImage } from '../upstream/index.ts';
import type { Catalogue, SnapshotRecord } from './catalogue.ts';
import type { Image, Images } from './images.ts';
import { blobsOf, type Modules } from './modules.ts';
import { SingleFlight } from './single-flight.ts';
import { rawDigests } from './volumes.ts';
import type { Work } from './work.ts';

/** A DSSE envelope is its payload in base64 and a few signatures. */
const MAX_ENVELOPE_BYTES = 2 * MAX_SNAPSHOT_CONFIG_BYTES;

/** Snapshots of one image that are looked at in a registry before one is built: anybody may push some there. */
const MAX_CANDIDATES = 16;

/** Pins of what is being put together; those that are left when the daemon starts belong to nobody. */
export const STAGING_HOLDER_PREFIX = 'staging:';

/** Layers that are downloaded at the same time, ahead of the builder. */
const PARALLEL_DOWNLOADS = 3;

export interface AcquirerOptions {
  readonly blockBytes: number;
  readonly limits: Partial<BuildLimits>;
  readonly stallTimeoutMs: number;
  /** Look in the image's registry before building. */
  readonly useRegistry: boolean;
  readonly builderKey: KeyObject;
  /** Whose snapshots are used; this host's own key is among them. */
  readonly trustedKeys: readonly KeyObject[];
}

export interface Acquisition {
  readonly image: Image;
  readonly record: SnapshotRecord;
  readonly found: BuildResult['found'];
}

type Found = Omit<Acquisition, 'image'>;

interface Staging {
  readonly directory: string;
  readonly reservation: Reservation;
  readonly holder: string;
}

/** Comes by the snapshot of an image: it is here, or in the image's registry, or it is built. */
export class Acquirer {
  readonly #options: AcquirerOptions;
  readonly #modules: Modules & { images: Images; catalogue: Catalogue };
  readonly #flights = new SingleFlight<string, Found>();

  constructor(options: AcquirerOptions, modules: Modules & { images: Images; catalogue: Catalogue }) {
    this.#options = options;
    this.#modules = modules;
  }

  async acquire(image: Image, { rebuild }: { rebuild: boolean }, work: Work): Promise<Acquisition> {
    const { record } = image;
    if (record !== undefined && !rebuild && this.#isLocal(record)) {
      for (const digest of rawDigests(record.config)) this.#modules.store.touch(digest);
      work.timeline.mark('snapshot-found');
      work.timeline.mark('meta-ready');
      return { image, record, found: 'here' };
    }
    const found = await this.#flights.run(
      `${image.rootDigest} ${formatPlatform(image.platform)}`,
      work.signal,
      async (signal) => {
        const shared = work.until(signal);
        const manifest = await this.#modules.images.manifest(image, shared);
        const fetched = rebuild ? undefined : await this.#fromRegistry(image, manifest, shared);
        return fetched ?? (await this.#build(image, manifest, shared));
      },
    );
    return { image, ...found };
  }

  /** Pushes the artifact and its blobs to the image's registry, where any host finds it as a referrer of the image. */
  async push(image: ImageReference, record: SnapshotRecord, work: Work): Promise<void> {
    const { registry, store } = this.#modules;
    const { envelope, artifact } = record;
    const blobs = [record.config.meta, ...record.config.devices].flatMap(blobsOf);
    const missing = blobs.find(({ digest }) => !store.has(digest));
    if (missing !== undefined) {
      throw new DrakkarError('not_found', `the blob ${missing.digest} of the snapshot is no longer here`, {
        hint: 'build it again: drakkar snapshot build --rebuild --push IMAGE',
      });
    }
    const totalBytes = blobs.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    let doneBytes = 0;
    for (const { digest, sizeBytes } of blobs) {
      await registry.pushBlob(image, digest, sizeBytes, { path: store.pathOf(digest) }, work);
      doneBytes += sizeBytes;
      work.progress('push', doneBytes, totalBytes);
    }
    await registry.pushBlob(image, digestOf(envelope), envelope.length, { bytes: envelope }, work);
    await registry.pushReferrer(image, artifact, work);
  }

  async #fromRegistry(image: Image, resolved: ResolvedImage, work: Work): Promise<Found | undefined> {
    if (!this.#options.useRegistry) return undefined;
    const { registry, log } = this.#modules;
    const { artifact: artifactType } = SNAPSHOT_MEDIA_TYPES;
    let candidates: Descriptor[];
    try {
      candidates = await registry.listReferrers(image.reference, resolved.manifestDigest, artifactType, work);
    } catch (error) {
      work.signal.throwIfAborted();
      log.warn({ image: image.name, error }, 'the registry does not say whether it has a snapshot');
      return undefined;
    }
    for (const { digest } of candidates.slice(0, MAX_CANDIDATES)) {
      try {
        return await this.#fetchArtifact(image, resolved, digest, work);
      } catch (error) {
        work.signal.throwIfAborted();
        if (isDrakkarError(error, 'no_space')) throw error;
        log.warn({ image: image.name, artifact: digest, error }, 'a snapshot in the registry is not used');
      }
    }
    return undefined;
  }

  async #fetchArtifact(
    image: Image,
    resolved: ResolvedImage,
    artifactDigest: Digest,
    work: Work,
  ): Promise<Found> {
    const { registry, store } = this.#modules;
    const artifact = await registry.fetchManifest(image.reference, artifactDigest, work);
    const { digest: envelopeDigest } = parseArtifact(artifact.bytes).config;
    const envelope = await registry.fetchBlob(image.reference, envelopeDigest, MAX_ENVELOPE_BYTES, work);
    work.receipt.upstreamBytes += artifact.bytes.length + envelope.length;
    const { config, signer } = openArtifact({
      artifact: artifact.bytes,
      envelope,
      subject: resolved.manifestDigest,
      trustedKeys: this.#options.trustedKeys,
    });
    work.timeline.mark('snapshot-found');
    const files = [config.meta, ...config.devices];
    const totalBytes = files.reduce((total, file) => total + file.blobSizeBytes, 0);
    let doneBytes = 0;
    return this.#staged(async ({ directory, reservation, holder }) => {
      for (const file of files) {
        store.pin(file.rawDigest, holder);
        if (store.has(file.rawDigest)) continue;
        await this.#fetchFile(image, file, { directory, reservation, holder }, work, (bytes) => {
          doneBytes += bytes;
          work.progress('download', doneBytes, totalBytes);
        });
      }
      const imageConfig = await this.#modules.images.config(image, resolved, work);
      const record = this.#record(image, resolved, {
        imageConfig,
        config,
        envelope,
        artifact: artifact.bytes,
        signer,
        origin: 'registry',
      });
      work.timeline.mark('meta-ready');
      return { record, found: 'registry' };
    });
  }

  /** Fetches one file's blobs and makes its raw form. */
  async #fetchFile(
    image: Image,
    file: VolumeFile,
    { directory, reservation, holder }: Staging,
    work: Work,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const { content, store } = this.#modules;
    for (const blob of blobsOf(file)) {
      store.pin(blob.digest, holder);
      const request = { image: image.reference, ...blob };
      await content.fetch(request, work.receipt, { signal: work.signal, onBytes });
    }
    const table = decodePieceTable(await readFile(store.pathOf(file.piecesDigest)));
    const outputPath = join(directory, hexOf(file.rawDigest));
    reservation.grow(file.rawSizeBytes);
    const blobPath = store.pathOf(file.blobDigest);
    await expandBlob({ blobPath, table, file, outputPath }, { signal: work.signal });
    await store.adopt(outputPath, file.rawDigest, file.rawSizeBytes, 'volume', reservation, holder);
  }

  async #build(image: Image, resolved: ResolvedImage, work: Work): Promise<Found> {
    const { images, content, store } = this.#modules;
    const { manifest, manifestDigest, mediaType, manifestBytes } = resolved;
    const imageConfig = await images.config(image, resolved, work);
    const { rootfs, created } = parseImageConfig(imageConfig);
    const requests = manifest.layers.map(({ digest, size }) => ({
      image: image.reference,
      digest,
      sizeBytes: size,
    }));
    const totalBytes = requests.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    return this.#staged(async ({ directory, reservation, holder }) => {
      const ahead = new AbortController();
      const signal = AbortSignal.any([work.signal, ahead.signal]);
      const receipts = requests.map(() => ({ storeBytes: 0, upstreamBytes: 0 }));
      const downloads = this.#downloadAhead(requests, receipts, signal);
      try {
        const built = await buildSnapshot(
          {
            image: image.name,
            manifestDigest,
            layers: requests.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
            diffIds: rootfs.diff_ids ?? [],
            createdSeconds: secondsOf(created),
            outputDir: directory,
            blockBytes: this.#options.blockBytes,
            limits: this.#options.limits,
            stallTimeoutMs: this.#options.stallTimeoutMs,
          },
          {
            openLayer: (index) => content.read(at(requests, index), at(receipts, index), { signal }),
            reserve: async (reservedBytes) => reservation.grow(reservedBytes),
            onProgress: ({ compressedBytes }) => work.progress('build', compressedBytes, totalBytes),
          },
          { signal: work.signal },
        );
        for (const file of built.files) {
          await store.adopt(file.path, file.digest, file.sizeBytes, file.kind, reservation, holder);
        }
        const subject = { mediaType, digest: manifestDigest, size: manifestBytes.length };
        const { builderKey: key } = this.#options;
        const { artifact, envelope } = composeArtifact({ config: built.config, subject, key });
        const record = this.#record(image, resolved, {
          imageConfig,
          config: built.config,
          envelope,
          artifact,
          signer: encodePublicKey(key),
          origin: 'built',
        });
        work.timeline.mark('snapshot-built');
        work.timeline.mark('meta-ready');
        return { record, found: 'built' };
      } finally {
        ahead.abort();
        await downloads;
        addReceipts(work.receipt, requests, receipts);
      }
    });
  }

  /** Keeps a few layers arriving while the builder reads them in order. Never rejects: the builder's own read does. */
  async #downloadAhead(
    requests: readonly BlobRequest[],
    receipts: readonly ReceiptCounter[],
    signal: AbortSignal,
  ): Promise<void> {
    const pending = requests.entries().drop(1);
    const download = async () => {
      for (const [index, request] of pending) {
        if (signal.aborted) return;
        await this.#modules.content.fetch(request, at(receipts, index), { signal });
      }
    };
    await Promise.allSettled(Array.from({ length: PARALLEL_DOWNLOADS }, download));
  }

  /**
   * Does something in a directory, with space and with pins of its own; all three are given back however it ends. What it
   * pinned must be kept by a record or a mount by then, or may go.
   */
  async #staged<Value>(task: (staging: Staging) => Promise<Value>): Promise<Value> {
    const { store } = this.#modules;
    const name = randomUUID();
    const directory = join(store.stagingDirectory, name);
    const holder = `${STAGING_HOLDER_PREFIX}${name}`;
    await mkdir(directory, { recursive: true });
    using reservation = store.reserve(`staging ${name}`);
    try {
      return await task({ directory, reservation, holder });
    } finally {
      store.unpin(holder);
      await rm(directory, { recursive: true, force: true });
    }
  }

  /** The last step: once the record stands, the snapshot is known. */
  #record(
    image: Image,
    { manifestDigest, rootDigest, manifest }: ResolvedImage,
    parts: Pick<SnapshotRecord, 'imageConfig' | 'config' | 'envelope' | 'artifact' | 'signer' | 'origin'>,
  ): SnapshotRecord {
    const record: SnapshotRecord = {
      manifestDigest,
      rootDigest,
      image: image.name,
      platform: formatPlatform(image.platform),
      imageSizeBytes: manifest.layers.reduce((total, { size }) => total + size, 0),
      createdAtMs: Date.now(),
      ...parts,
    };
    this.#modules.catalogue.put(record);
    return record;
  }

  #isLocal(record: SnapshotRecord): boolean {
    return rawDigests(record.config).every((digest) => this.#modules.store.has(digest));
  }
}

/** A layer that was downloaded ahead is read once more from the store, which is no other source: it counts once. */
function addReceipts(
  total: ReceiptCounter,
  requests: readonly BlobRequest[],
  receipts: readonly ReceiptCounter[],
): void {
  for (const [index, { storeBytes, upstreamBytes }] of receipts.entries()) {
    const { sizeBytes = 0 } = at(requests, index);
    total.upstreamBytes += upstreamBytes;
    total.storeBytes += Math.min(storeBytes, Math.max(0, sizeBytes - upstreamBytes));
  }
}

function at<Value>(list: readonly Value[], index: number): Value {
  const value = list[index];
  if (value === undefined) throw new DrakkarError('internal', `the builder asks for layer ${index}`);
  return value;
}

/** Seconds since 1970 of an RFC 3339 time; 0 where it is none, so that a build never depends on the clock. */
function secondsOf(created: string | null | undefined): number {
  const ms = created ? Date.parse(created) : Number.NaN;
  return Number.isFinite(ms) && ms > 0 ? Math.floor(ms / 1000) : 0;
}
