import { performance } from 'node:perf_hooks';

/** A named moment, in milliseconds since the timeline began. */
export interface Mark {
  readonly name: MarkName;
  readonly atMs: number;
}

/**
 * The moments of a start, in the order in which they pass:
 * `resolved` the tag is a digest · `snapshot-found` here or in the registry · `snapshot-built` · `meta-ready` everything
 * that the mount needs is local · `mounted` volume and overlay · `container-created` · `first-output` · `ended`.
 */
export type MarkName =
  | 'resolved'
  | 'snapshot-found'
  | 'snapshot-built'
  | 'meta-ready'
  | 'mounted'
  | 'container-created'
  | 'first-output'
  | 'ended';

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
