import type { KeyObject } from 'node:crypto';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Digest,
  DrakkarError,
  decodePieceTable,
  digestOf,
  encodePublicKey,
  formatPlatform,
  type ImageReference,
  isDrakkarError,
  MAX_SNAPSHOT_CONFIG_BYTES,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotConfig,
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
import type { BuildResult } from '../admin/api.ts';
import type { Catalogue, SnapshotRecord } from './catalogue.ts';
import type { Image, Images } from './images.ts';
import {
  type BlobRequest,
  blobsOf,
  type Modules,
  type ResolvedImage,
  type SpaceReservation,
} from './modules.ts';
import { SingleFlight } from './single-flight.ts';
import { rawDigests } from './volumes.ts';
import type { Work } from './work.ts';

/** Layers that are downloaded at the same time, ahead of the builder. */
const PARALLEL_DOWNLOADS = 3;

export interface AcquirerOptions {
  /** Where builds and expansions are put together; on the store's disk. */
  readonly stagingDirectory: string;
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

/** Comes by the snapshot of an image: it is here, or in the image's registry, or it is built. */
export class Acquirer {
  readonly #options: AcquirerOptions;
  readonly #modules: Modules & { images: Images; catalogue: Catalogue };
  readonly #flights = new SingleFlight<Digest, Found>();

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
    const found = await this.#flights.run(image.manifestDigest, work.signal, async (signal) => {
      const shared = work.until(signal);
      const manifest = await this.#modules.images.manifest(image, shared);
      const fetched = rebuild ? undefined : await this.#fromRegistry(image, manifest, shared);
      return fetched ?? (await this.#build(image, manifest, shared));
    });
    return { image, ...found };
  }

  /** Pushes the artifact and its blobs to the image's registry, where any host finds it as a referrer of the image. */
  async push(image: ImageReference, record: SnapshotRecord, work: Work): Promise<void> {
    const { registry, store } = this.#modules;
    const files = [record.config.meta, ...record.config.devices];
    const blobs = files.flatMap(blobsOf);
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
    const { envelope } = record;
    await registry.pushBlob(image, digestOf(envelope), envelope.length, { bytes: envelope }, work);
    await registry.pushReferrer(image, record.artifact, work);
  }

  async #fromRegistry(image: Image, manifest: ResolvedImage, work: Work): Promise<Found | undefined> {
    if (!this.#options.useRegistry) return undefined;
    const { registry, log } = this.#modules;
    let candidates: Digest[];
    try {
      candidates = await registry.referrers(
        image.reference,
        manifest.manifestDigest,
        SNAPSHOT_MEDIA_TYPES.artifact,
        work,
      );
    } catch (error) {
      work.signal.throwIfAborted();
      log.warn({ image: image.name, error }, 'the registry does not say whether it has a snapshot');
      return undefined;
    }
    for (const candidate of candidates) {
      try {
        return await this.#fetchArtifact(image, manifest, candidate, work);
      } catch (error) {
        work.signal.throwIfAborted();
        if (isDrakkarError(error, 'no_space')) throw error;
        log.warn({ image: image.name, artifact: candidate, error }, 'a snapshot in the registry is not used');
      }
    }
    return undefined;
  }

  async #fetchArtifact(
    image: Image,
    manifest: ResolvedImage,
    artifactDigest: Digest,
    work: Work,
  ): Promise<Found> {
    const artifact = await this.#modules.registry.fetchManifest(image.reference, artifactDigest, work);
    const { config: envelopeDescriptor } = parseArtifact(artifact.bytes);
    const envelope = await this.#readSmall(image, envelopeDescriptor.digest, envelopeDescriptor.size, work);
    const { config, signer } = openArtifact({
      artifact: artifact.bytes,
      envelope,
      subject: manifest.manifestDigest,
      trustedKeys: this.#options.trustedKeys,
    });
    work.timeline.mark('snapshot-found');
    const holder = `acquire:${randomUUID()}`;
    const files = [config.meta, ...config.devices];
    const totalBytes = files.reduce((total, file) => total + file.blobSizeBytes, 0);
    let doneBytes = 0;
    try {
      await this.#staged(async (directory, reservation) => {
        for (const file of files) {
          if (!this.#modules.store.has(file.rawDigest)) {
            await this.#expand(image, file, directory, reservation, holder, work, (bytes) => {
              doneBytes += bytes;
              work.progress('download', doneBytes, totalBytes);
            });
          }
          this.#modules.store.pin(file.rawDigest, holder);
        }
      });
      const found = await this.#record(
        image,
        manifest,
        config,
        envelope,
        artifact.bytes,
        signer,
        'registry',
        work,
      );
      work.timeline.mark('meta-ready');
      return { record: found, found: 'registry' };
    } finally {
      this.#modules.store.unpin(holder);
    }
  }

  /** Fetches one file's blobs and makes its raw form. */
  async #expand(
    image: Image,
    file: VolumeFile,
    directory: string,
    reservation: SpaceReservation,
    holder: string,
    work: Work,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const { content, store } = this.#modules;
    for (const blob of blobsOf(file)) {
      await content.fetch({ image: image.reference, ...blob }, work.receipt, {
        signal: work.signal,
        onBytes,
      });
      store.pin(blob.digest, holder);
    }
    const table = decodePieceTable(await readFile(store.pathOf(file.piecesDigest)));
    const outputPath = join(directory, `${file.rawDigest.slice('sha256:'.length)}.raw`);
    await reservation.grow(file.rawSizeBytes);
    await expandBlob(
      { blobPath: store.pathOf(file.blobDigest), table, file, outputPath },
      { signal: work.signal },
    );
    await store.adopt(outputPath, file.rawDigest, file.rawSizeBytes, 'volume', reservation, holder);
  }

  async #readSmall(image: Image, digest: Digest, sizeBytes: number, work: Work): Promise<Uint8Array> {
    if (sizeBytes > 2 * MAX_SNAPSHOT_CONFIG_BYTES) {
      throw new DrakkarError(
        'limit_exceeded',
        `the snapshot config ${digest} says it has ${sizeBytes} bytes`,
      );
    }
    const parts: Uint8Array[] = [];
    const request = { image: image.reference, digest, sizeBytes };
    for await (const part of this.#modules.content.read(request, work.receipt, work)) parts.push(part);
    return Buffer.concat(parts);
  }

  async #build(image: Image, resolved: ResolvedImage, work: Work): Promise<Found> {
    const { images, content, store } = this.#modules;
    const { manifest, manifestDigest } = resolved;
    const { config: imageConfig } = await images.config(image, manifest, work);
    const requests = manifest.layers.map(({ digest, size }) => ({
      image: image.reference,
      digest,
      sizeBytes: size,
    }));
    const totalBytes = requests.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    const holder = `build:${randomUUID()}`;
    try {
      const built = await this.#staged(async (directory, reservation) => {
        const ahead = new AbortController();
        const signal = AbortSignal.any([work.signal, ahead.signal]);
        const downloads = this.#downloadAhead(requests, work, signal);
        try {
          const result = await buildSnapshot(
            {
              image: image.name,
              manifestDigest,
              layers: requests.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
              diffIds: imageConfig.rootfs.diff_ids ?? [],
              createdSeconds: createdSeconds(imageConfig.created),
              outputDir: directory,
              blockBytes: this.#options.blockBytes,
              limits: this.#options.limits,
              stallTimeoutMs: this.#options.stallTimeoutMs,
            },
            {
              openLayer: (index) => content.read(requestAt(requests, index), work.receipt, { signal }),
              reserve: (bytes) => reservation.grow(bytes),
              onProgress: ({ compressedBytes }) => work.progress('build', compressedBytes, totalBytes),
            },
            { signal: work.signal },
          );
          for (const { path, digest, sizeBytes, kind } of result.files) {
            await store.adopt(path, digest, sizeBytes, kind, reservation, holder);
          }
          return result;
        } finally {
          ahead.abort();
          await downloads;
        }
      });
      const { artifact, envelope } = composeArtifact({
        config: built.config,
        subject: {
          mediaType: resolved.mediaType,
          digest: manifestDigest,
          size: resolved.manifestBytes.length,
        },
        key: this.#options.builderKey,
      });
      const signer = encodePublicKey(this.#options.builderKey);
      const record = await this.#record(
        image,
        resolved,
        built.config,
        envelope,
        artifact,
        signer,
        'built',
        work,
      );
      work.timeline.mark('snapshot-built');
      work.timeline.mark('meta-ready');
      return { record, found: 'built' };
    } finally {
      store.unpin(holder);
    }
  }

  /** Keeps a few layers arriving while the builder reads them in order. Never rejects: the builder's own read does. */
  async #downloadAhead(requests: readonly BlobRequest[], work: Work, signal: AbortSignal): Promise<void> {
    const pending = requests.slice(1).values();
    const download = async () => {
      for (const request of pending) {
        if (signal.aborted) return;
        // The builder's read of the same blob joins this download, so its bytes are counted there.
        const receipt = { storeBytes: 0, upstreamBytes: 0 };
        await this.#modules.content.fetch(request, receipt, { signal });
        work.receipt.upstreamBytes += receipt.upstreamBytes;
      }
    };
    await Promise.allSettled(Array.from({ length: PARALLEL_DOWNLOADS }, download));
  }

  /** Does something in a directory and with space of its own; both are given back however it ends. */
  async #staged<Value>(
    task: (directory: string, reservation: SpaceReservation) => Promise<Value>,
  ): Promise<Value> {
    const directory = join(this.#options.stagingDirectory, randomUUID());
    await mkdir(directory, { recursive: true });
    using reservation = this.#modules.store.reserve(directory);
    try {
      return await task(directory, reservation);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  /** The last step: once the record stands, the snapshot is known. */
  async #record(
    image: Image,
    resolved: ResolvedImage,
    config: SnapshotConfig,
    envelope: Uint8Array,
    artifact: Uint8Array,
    signer: string,
    origin: SnapshotRecord['origin'],
    work: Work,
  ): Promise<SnapshotRecord> {
    const { bytes: imageConfig } = await this.#modules.images.config(image, resolved.manifest, work);
    const record: SnapshotRecord = {
      manifestDigest: resolved.manifestDigest,
      image: image.name,
      platform: formatPlatform(image.platform),
      imageConfig,
      imageSizeBytes: resolved.manifest.layers.reduce((total, { size }) => total + size, 0),
      config,
      envelope,
      artifact,
      signer,
      origin,
      createdAtMs: Date.now(),
    };
    this.#modules.catalogue.put(record);
    return record;
  }

  #isLocal(record: SnapshotRecord): boolean {
    return rawDigests(record.config).every((digest) => this.#modules.store.has(digest));
  }
}

function requestAt(requests: readonly BlobRequest[], index: number): BlobRequest {
  const request = requests[index];
  if (request === undefined) throw new DrakkarError('internal', `the builder asks for layer ${index}`);
  return request;
}

/** Seconds since 1970 of an RFC 3339 time; 0 where it is none, so that a build never depends on the clock. */
function createdSeconds(created: string | null | undefined): number {
  const ms = created ? Date.parse(created) : Number.NaN;
  return Number.isFinite(ms) && ms > 0 ? Math.floor(ms / 1000) : 0;
}
