import type { HookKind } from './kinds.ts';
import type { DeliveryRecord, Postponed } from './schema.ts';

/** Of each hook. */
const KEPT = 200;
const MAX_DETAIL = 300;
const NONE: Postponed = { count: 0, lastAtMs: null, detail: null };

interface OfHook {
  readonly kind: HookKind;
  /** The newest first. */
  records: readonly DeliveryRecord[];
  lastTaken: DeliveryRecord | null;
  postponed: Postponed;
}

/**
 * What came of the last deliveries of each hook, as long as the process lives. Those that were put off are only counted: a flood of them
 * would leave nothing to be seen of the others.
 */
export class Deliveries {
  readonly #byHook = new Map<string, OfHook>();
  #lastId = 0;

  /** From now on it is kept what comes of its deliveries. */
  begin(hook: string, kind: HookKind): void {
    if (!this.#byHook.has(hook))
      this.#byHook.set(hook, { kind, records: [], lastTaken: null, postponed: NONE });
  }

  forget(hook: string): void {
    this.#byHook.delete(hook);
  }

  kindOf(hook: string): HookKind | undefined {
    return this.#byHook.get(hook)?.kind;
  }

  add(hook: string, { atMs, outcome, detail }: Omit<DeliveryRecord, 'id'>): void {
    const known = this.#byHook.get(hook);
    if (known === undefined) return;
    // Later ones have later ids, of as many digits, also within a millisecond.
    this.#lastId = Math.max(atMs * 1_000, this.#lastId + 1);
    const record = { id: String(this.#lastId), atMs, outcome, detail: detail.slice(0, MAX_DETAIL) };
    known.records = [record, ...known.records].slice(0, KEPT);
    if (outcome === 'taken') known.lastTaken = record;
  }

  /** The sender was told to come again. */
  postpone(hook: string, detail: string, atMs: number): void {
    const known = this.#byHook.get(hook);
    if (known === undefined) return;
    known.postponed = { count: known.postponed.count + 1, lastAtMs: atMs, detail };
  }

  /** However many came after it. */
  lastTakenOf(hook: string): DeliveryRecord | null {
    return this.#byHook.get(hook)?.lastTaken ?? null;
  }

  postponedOf(hook: string): Postponed {
    return this.#byHook.get(hook)?.postponed ?? NONE;
  }

  /** The newest first. @param after the id of the last one that is known already */
  page(
    hook: string,
    { after, limit }: { readonly after?: string | undefined; readonly limit: number },
  ): { readonly items: DeliveryRecord[]; readonly next: string | null } {
    const records = this.#byHook.get(hook)?.records ?? [];
    const left = after === undefined ? records : records.filter(({ id }) => id < after);
    const items = left.slice(0, limit);
    return { items, next: left.length > limit ? (items.at(-1)?.id ?? null) : null };
  }
}
