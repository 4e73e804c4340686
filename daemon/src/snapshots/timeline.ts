import { performance } from 'node:perf_hooks';
import type { Mark, MarkName } from '@drakkar/client';

/** Takes down the moments of a start, and tells each as it passes. */
export class Timeline {
  readonly #startedAt = performance.now();
  readonly #marks: Mark[] = [];
  readonly #onMark: ((mark: Mark) => void) | undefined;

  constructor(onMark?: (mark: Mark) => void) {
    this.#onMark = onMark;
  }

  get marks(): readonly Mark[] {
    return this.#marks;
  }

  mark(name: MarkName): void {
    const mark = { name, atMs: performance.now() - this.#startedAt };
    this.#marks.push(mark);
    this.#onMark?.(mark);
  }
}
