import type { Mark, Progress, ReadableContent } from '@drakkar/client';
import { newReceipt, type ReceiptCounter } from '../content/index.ts';
import { Timeline } from './timeline.ts';

export interface WorkOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onMark?: ((mark: Mark) => void) | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly onOpened?: ((readable: ReadableContent) => void) | undefined;
}

/** One thing that somebody asked for and waits for: its moments, its bytes, its progress and its end. */
export class Work {
  readonly timeline: Timeline;
  readonly receipt: ReceiptCounter;
  readonly signal: AbortSignal;
  readonly #onProgress: ((progress: Progress) => void) | undefined;
  readonly #onOpened: ((readable: ReadableContent) => void) | undefined;

  constructor(options: WorkOptions = {}, parent?: Work) {
    this.timeline = parent?.timeline ?? new Timeline(options.onMark);
    this.receipt = parent?.receipt ?? newReceipt();
    this.signal = options.signal ?? new AbortController().signal;
    this.#onProgress = parent === undefined ? options.onProgress : parent.#onProgress;
    this.#onOpened = parent === undefined ? options.onOpened : parent.#onOpened;
  }

  /** The same work with another end: for a part that others wait for, too. */
  until(signal: AbortSignal): Work {
    return new Work({ signal }, this);
  }

  /** What is asked for can be read from now on. */
  opened(readable: ReadableContent): void {
    this.#onOpened?.(readable);
  }

  progress(phase: Progress['phase'], doneBytes: number, totalBytes: number): void {
    this.#onProgress?.({ phase, doneBytes, totalBytes });
  }
}
