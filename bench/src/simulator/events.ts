/** Events that happen within so long of each other are kept together. */
const SLOT_MS = 0.125;

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly happen: () => void;
}

/**
 * What happens when, in a world without a clock: the earliest comes first, and what comes at the same time in the order of its making.
 *
 * A calendar queue: whatever there is to come, an event costs the same. Source: R. Brown, Calendar queues, 1988.
 */
export class Events {
  /** By slot, unsorted. */
  readonly #slots = new Map<number, Event[]>();
  readonly #nextSlots = new Heap<number>((slot) => slot);
  /** Of the slot that is at its turn. */
  readonly #now = new Heap<Event>(
    ({ atMs }) => atMs,
    ({ order }) => order,
  );
  #slot = -1;
  #nowMs = 0;
  #order = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** So many have been made. */
  get count(): number {
    return this.#order;
  }

  after(delayMs: number, happen: () => void): void {
    const atMs = this.#nowMs + Math.max(0, delayMs);
    const event = { atMs, order: this.#order, happen };
    this.#order += 1;
    const slot = Math.floor(atMs / SLOT_MS);
    if (slot <= this.#slot) {
      this.#now.push(event);
      return;
    }
    const events = this.#slots.get(slot);
    if (events !== undefined) {
      events.push(event);
      return;
    }
    this.#slots.set(slot, [event]);
    this.#nextSlots.push(slot);
  }

  every(periodMs: number, happen: () => void): void {
    const again = () => {
      happen();
      this.after(periodMs, again);
    };
    this.after(0, again);
  }

  /** Lets everything happen until `isOver`, nothing is left or the time has come. */
  run(isOver: () => boolean, untilMs: number): void {
    while (!isOver()) {
      const next = this.#take();
      if (next === undefined || next.atMs > untilMs) return;
      this.#nowMs = next.atMs;
      next.happen();
    }
  }

  #take(): Event | undefined {
    while (this.#now.size === 0) {
      const slot = this.#nextSlots.pop();
      if (slot === undefined) return undefined;
      this.#slot = slot;
      for (const event of this.#slots.get(slot) ?? []) this.#now.push(event);
      this.#slots.delete(slot);
    }
    return this.#now.pop();
  }
}

/** The least first. */
class Heap<Item> {
  readonly #items: Item[] = [];
  readonly #keyOf: (item: Item) => number;
  readonly #tieOf: (item: Item) => number;

  constructor(keyOf: (item: Item) => number, tieOf: (item: Item) => number = () => 0) {
    this.#keyOf = keyOf;
    this.#tieOf = tieOf;
  }

  get size(): number {
    return this.#items.length;
  }

  push(item: Item): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = items[above] as Item;
      if (!this.#isBefore(item, parent)) break;
      items[at] = parent;
      at = above;
    }
    items[at] = item;
  }

  pop(): Item | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    let at = 0;
    for (let below = 1; below < items.length; below = 2 * at + 1) {
      if (below + 1 < items.length && this.#isBefore(items[below + 1] as Item, items[below] as Item))
        below += 1;
      const child = items[below] as Item;
      if (!this.#isBefore(child, last)) break;
      items[at] = child;
      at = below;
    }
    items[at] = last;
    return first;
  }

  #isBefore(one: Item, other: Item): boolean {
    const difference = this.#keyOf(one) - this.#keyOf(other);
    return difference < 0 || (difference === 0 && this.#tieOf(one) < this.#tieOf(other));
  }
}
