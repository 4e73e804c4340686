/** What happens when, in a world without a clock: the earliest comes first, and what comes at the same time in the order of its making. */
export class Events {
  readonly #heap: { readonly atMs: number; readonly order: number; readonly happen: () => void }[] = [];
  #nowMs = 0;
  #order = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, happen: () => void): void {
    this.#heap.push({ atMs: this.#nowMs + delayMs, order: this.#order, happen });
    this.#order += 1;
    this.#rise(this.#heap.length - 1);
  }

  /** Lets everything happen until `isOver`, nothing is left or the time has come. */
  run(isOver: () => boolean, untilMs: number): void {
    while (!isOver()) {
      const next = this.#takeFirst();
      if (next === undefined || next.atMs > untilMs) return;
      this.#nowMs = next.atMs;
      next.happen();
    }
  }

  #takeFirst() {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    this.#heap[0] = last;
    this.#sink(0);
    return first;
  }

  #isBefore(one: number, other: number): boolean {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return a !== undefined;
    return a.atMs - b.atMs < 0 || (a.atMs === b.atMs && a.order < b.order);
  }

  #swap(one: number, other: number): void {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return;
    [this.#heap[one], this.#heap[other]] = [b, a];
  }

  #rise(index: number): void {
    for (let at = index; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(index: number): void {
    for (let at = index; ; ) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#heap.length && this.#isBefore(child, first)) first = child;
      }
      if (first === at) return;
      this.#swap(at, first);
      at = first;
    }
  }
}
