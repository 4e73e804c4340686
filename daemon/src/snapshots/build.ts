import type { KeyObject } from 'node:crypto';
import {
  DrakkarError,
  encodePublicKey,
  isDrakkarError,
  parseImageConfig,
  toDrakkarError,
} from '@drakkar/protocol';
import { type BuildLimits, buildSnapshot, composeArtifact } from '@drakkar/snapshotter';
import { type BlobRequest, newReceipt, type ReceiptCounter } from '../content/index.ts';
import type { ResolvedImage } from '../upstream/index.ts';
import type { Image } from './images.ts';
import type { Content, Modules, SnapshotParts } from './modules.ts';
import { staged } from './staging.ts';
import type { Work } from './work.ts';

/** Layers that are downloaded at the same time, ahead of the builder. */
const PARALLEL_DOWNLOADS = 3;

export interface BuildOptions {
  readonly blockBytes: number;
  readonly limits: Partial<BuildLimits>;
  readonly stallTimeoutMs: number;
  /** Signs what is built. */
  readonly builderKey: KeyObject;
}

/**
 * Builds the snapshot of an image while its layers arrive.
 *
 * @param keep called while the files are still pinned
 */
export async function buildFromLayers<Kept>(
  image: Image,
  resolved: ResolvedImage,
  imageConfig: Uint8Array,
  options: BuildOptions,
  { content, store }: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept> {
  const { manifest, manifestDigest, mediaType, manifestBytes } = resolved;
  const { rootfs, created } = parseImageConfig(imageConfig);
  const layers = new LayerSource(image, resolved, content, work.receipt);
  return staged(store, async ({ directory, reservation, holder }) => {
    const ahead = new AbortController();
    const signal = AbortSignal.any([work.signal, ahead.signal]);
    const downloads = layers.downloadAhead(signal);
    try {
      const built = await buildSnapshot(
        {
          image: image.name,
          manifestDigest,
          layers: manifest.layers.map(({ digest, size }) => ({ digest, sizeBytes: size })),
          diffIds: rootfs.diff_ids ?? [],
          createdSeconds: secondsOf(created),
          outputDir: directory,
          blockBytes: options.blockBytes,
          limits: options.limits,
          stallTimeoutMs: options.stallTimeoutMs,
        },
        {
          openLayer: (index, call) => layers.read(index, AbortSignal.any([signal, call.signal])),
          reserve: async (bytes) => reservation.grow(bytes),
          onProgress: ({ compressedBytes }) => work.progress('build', compressedBytes, layers.sizeBytes),
        },
        { signal: work.signal },
      );
      for (const file of built.files) {
        await store.adopt(file.path, file.digest, file.sizeBytes, file.kind, reservation, holder);
      }
      const { config } = built;
      const subject = { mediaType, digest: manifestDigest, size: manifestBytes.length };
      const { artifact, envelope } = composeArtifact({ config, subject, key: options.builderKey });
      work.timeline.mark('snapshot-built');
      return await keep({
        config,
        envelope,
        artifact,
        signer: encodePublicKey(options.builderKey),
        origin: 'built',
      });
    } catch (error) {
      // Bytes that the registry has damaged may look like a damaged archive: its own word comes first.
      if (isDrakkarError(error, 'invalid_content')) await layers.requireDigests(image.name, work.signal);
      throw error;
    } finally {
      ahead.abort();
      await downloads;
      layers.addReceipts(work.receipt);
    }
  });
}

interface Layer {
  readonly request: BlobRequest & { readonly sizeBytes: number };
  readonly receipt: ReceiptCounter;
}

/** The layers of an image as the builder reads them: in order, while those behind are arriving. */
class LayerSource {
  readonly sizeBytes: number;
  readonly #layers: readonly Layer[];
  readonly #content: Content;
  /** Layers that the builder has asked for so far. */
  #begun = 0;

  constructor(image: Image, { manifest }: ResolvedImage, content: Content, receipt: ReceiptCounter) {
    this.#content = content;
    this.#layers = manifest.layers.map(({ digest, size }) => ({
      request: { image: image.reference, digest, sizeBytes: size },
      receipt: receipt.part(),
    }));
    this.sizeBytes = manifest.layers.reduce((total, { size }) => total + size, 0);
  }

  async *read(index: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const layer = this.#layers[index];
    if (layer === undefined) throw new DrakkarError('internal', `the builder asks for layer ${index}`);
    this.#begun = index + 1;
    try {
      yield* this.#content.read(layer.request, layer.receipt, { signal });
    } catch (cause) {
      throw this.#aboutLayer(index, cause);
    }
  }

  /** @throws `invalid_content` for the first layer read so far whose bytes are not what the manifest says */
  async requireDigests(image: string, signal: AbortSignal): Promise<void> {
    for (const [index, { request }] of this.#layers.slice(0, this.#begun).entries()) {
      try {
        await this.#content.fetch(request, newReceipt(), { signal });
      } catch (cause) {
        if (!isDrakkarError(cause, 'invalid_content')) return;
        const { code, message, hint, details } = this.#aboutLayer(index, cause);
        throw new DrakkarError(code, `${image}: ${message}`, { hint, details, cause });
      }
    }
  }

  #aboutLayer(index: number, cause: unknown): DrakkarError {
    const { code, message, hint, details } = toDrakkarError(cause);
    const which = `layer ${index + 1} of ${this.#layers.length}`;
    return new DrakkarError(code, `${which}: ${message}`, {
      hint: code === 'not_found' ? 'the registry has lost this layer: push the image again' : hint,
      details,
      cause,
    });
  }

  /** Keeps a few layers arriving. Never rejects: the builder's own read of the same layer does. */
  async downloadAhead(signal: AbortSignal): Promise<void> {
    const pending = this.#layers.values().drop(1);
    const download = async () => {
      for (const { request, receipt } of pending) {
        if (signal.aborted) return;
        await this.#content.fetch(request, receipt, { signal });
      }
    };
    await Promise.allSettled(Array.from({ length: PARALLEL_DOWNLOADS }, download));
  }

  /** A layer that was downloaded ahead is read once more from the store, which is no other source: it counts once. */
  addReceipts(total: ReceiptCounter): void {
    for (const { request, receipt } of this.#layers) {
      const fetchedBytes = receipt.upstreamBytes + receipt.peerBytes;
      receipt.storeBytes = Math.min(receipt.storeBytes, Math.max(0, request.sizeBytes - fetchedBytes));
      total.add(receipt);
    }
  }
}

/** Seconds since 1970 of an RFC 3339 time; 0 where it is none, so that a build never depends on the clock. */
function secondsOf(created: string | null | undefined): number {
  const ms = created ? Date.parse(created) : Number.NaN;
  return Number.isFinite(ms) && ms > 0 ? Math.floor(ms / 1000) : 0;
}
