import { DrakkarError, isDrakkarError, toDrakkarError } from '@drakkar/protocol';
import { type BlobRequest, newReceipt, type ReceiptCounter } from '../content/index.ts';
import type { ResolvedImage } from '../upstream/index.ts';
import type { Image } from './images.ts';
import type { Content } from './modules.ts';

/** Layers that are downloaded at the same time, ahead of the builder. */
const PARALLEL_DOWNLOADS = 3;

interface Layer {
  readonly request: BlobRequest & { readonly sizeBytes: number };
  readonly receipt: ReceiptCounter;
}

/** The layers of an image as the builder reads them: in order, while those behind are arriving. */
export class LayerSource {
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
