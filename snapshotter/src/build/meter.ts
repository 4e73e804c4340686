import { DrakkarError } from '@drakkar/protocol';
import type { BuildProgress } from './request.ts';

/** Between two reports. */
const PROGRESS_BYTES = 4 * 1024 * 1024;

/** Counts bytes, reports them, and stops what expands beyond measure. */
export class Meter {
  compressedBytes = 0;
  rawBytes = 0;
  #layer = 0;
  #reportedBytes = 0;
  readonly #limits: { readonly expansionRatio: number; readonly freeBytes: number };
  readonly #onProgress: (progress: BuildProgress) => void;

  constructor(
    limits: { readonly expansionRatio: number; readonly freeBytes: number },
    onProgress: (progress: BuildProgress) => void,
  ) {
    this.#limits = limits;
    this.#onProgress = onProgress;
  }

  startLayer(layer: number): void {
    this.#layer = layer;
    this.report('layers');
  }

  compressed(bytes: Uint8Array): void {
    this.compressedBytes += bytes.length;
  }

  raw(bytes: Uint8Array): void {
    this.rawBytes += bytes.length;
    const { expansionRatio, freeBytes } = this.#limits;
    if (this.rawBytes > freeBytes && this.rawBytes > this.compressedBytes * expansionRatio) {
      throw new DrakkarError(
        'limit_exceeded',
        `${this.compressedBytes} bytes expand to more than ${this.rawBytes - 1}: this looks like a decompression bomb`,
        { hint: 'raise the limit of expansion if this image is meant to be so' },
      );
    }
    if (this.rawBytes - this.#reportedBytes >= PROGRESS_BYTES) this.report('layers');
  }

  report(phase: BuildProgress['phase']): void {
    this.#reportedBytes = this.rawBytes;
    const { compressedBytes, rawBytes } = this;
    this.#onProgress({ phase, layer: this.#layer, compressedBytes, rawBytes });
  }
}
