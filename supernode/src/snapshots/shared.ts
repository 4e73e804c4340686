import { type Digest, digestOf, hexOf, isPeerId, type PeerId } from '@drakkar/protocol';
import type { Start, Traces } from '@drakkar/service';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type ChangedKeys, Collection, type StateStore, type WriteBehind } from '../state/index.ts';
import type { KnownSnapshot, SnapshotCatalogue, SnapshotName } from './catalogue.ts';

const digestSchema = z.custom<Digest>((text) => /^sha256:[0-9a-f]{64}$/.test(String(text)));
const blobSchema = z.object({
  name: z.object({ digest: digestSchema, origin: z.string(), table: digestSchema.optional() }),
  sizeBytes: z.number(),
  pieces: z.number(),
});
const snapshotSchema = z.object({
  registry: z.string(),
  platform: z.string(),
  root: digestSchema,
  manifest: digestSchema,
  envelope: digestSchema,
  builder: z.string(),
  layout: digestSchema,
  blobs: z.array(blobSchema),
  announcer: z.custom<PeerId>(isPeerId),
  pushed: z.boolean(),
  message: z.base64(),
  usedAtMs: z.number(),
});
type SharedSnapshot = z.output<typeof snapshotSchema>;

const startSchema = z.object({
  layout: digestSchema,
  startKey: digestSchema,
  reports: z.array(z.object({ reporter: z.string(), atMs: z.number(), ranges: z.base64() })),
});
type SharedStart = z.output<typeof startSchema>;

/** What starts read is told no more often than this: a burst of starts is one document. */
const TRACES_MS = 5_000;
/** Nor is use, which only says what may be forgotten. */
const USE_MS = 30 * 60_000;

export interface SharedSnapshotsModules {
  readonly state: StateStore;
  readonly writer: WriteBehind;
  readonly catalogue: SnapshotCatalogue;
  readonly traces: Traces;
  /** Nobody has asked for it for so long: it goes. */
  readonly keepMs: number;
  readonly log: Logger;
}

/**
 * Has the snapshots and traces of this supernode be those of all: what is in its databases is a copy of what is in the state, and what changes here is
 * written there soon.
 */
export class SharedSnapshots implements Disposable {
  readonly #modules: SharedSnapshotsModules;
  readonly #snapshots: Collection<SharedSnapshot>;
  readonly #starts: Collection<SharedStart>;
  /** Starts of which more is known than was told. */
  readonly #untold = new Map<string, Start>();
  readonly #useToldAtMs = new Map<string, number>();
  readonly #watching: readonly Disposable[];
  readonly #timer: NodeJS.Timeout;
  #taking: Promise<void> = Promise.resolve();

  private constructor(modules: SharedSnapshotsModules) {
    const { state, log } = modules;
    this.#modules = modules;
    const unreadable = (key: string, error: unknown) =>
      log.error({ key, error }, 'what is shared of a snapshot can’t be read, and is left out');
    this.#snapshots = new Collection(state, 'snapshots', snapshotSchema, unreadable);
    this.#starts = new Collection(state, 'traces', startSchema, unreadable);
    this.#watching = [
      state.watch(this.#snapshots.prefix, (keys) => this.#takeSoon(() => this.#takeSnapshots(keys))),
      state.watch(this.#starts.prefix, (keys) => this.#takeSoon(() => this.#takeStarts(keys))),
    ];
    this.#timer = setInterval(() => this.#tellTraces(), TRACES_MS);
  }

  /** Returns when everything that is shared is here. @throws `unavailable` */
  static async open(modules: SharedSnapshotsModules): Promise<SharedSnapshots> {
    const shared = new SharedSnapshots(modules);
    // What is heard of meanwhile waits: before the first has told what it has, nothing of it is there.
    const begun = shared.#begin();
    shared.#taking = begun.catch(() => {});
    try {
      await begun;
    } catch (error) {
      shared[Symbol.dispose]();
      throw error;
    }
    return shared;
  }

  [Symbol.dispose](): void {
    for (const watching of this.#watching) watching[Symbol.dispose]();
    clearInterval(this.#timer);
    this.#tellTraces();
    this.#modules.catalogue.events = undefined;
    this.#modules.traces.onChange = undefined;
  }

  async #begin(): Promise<void> {
    const { catalogue, traces, writer } = this.#modules;
    catalogue.events = {
      put: (snapshot, usedAtMs) => this.#tellSnapshot(snapshot, usedAtMs),
      used: (snapshot, usedAtMs) => this.#tellUse(snapshot, usedAtMs),
      removed: (name) => {
        this.#useToldAtMs.delete(idOf(name));
        writer.put(this.#snapshots.change(idOf(name), null));
      },
    };
    traces.onChange = (start) => this.#untold.set(idOfStart(start), start);
    await this.#takeStarts(null);
    const { items } = await this.#snapshots.page({ limit: 1 });
    if (items.length > 0) {
      await this.#takeSnapshots(null);
      return;
    }
    // The first of them brings what it had when it was alone.
    for (const { snapshot, usedAtMs } of catalogue.all()) this.#tellSnapshot(snapshot, usedAtMs);
    for (const start of traces.all()) this.#untold.set(idOfStart(start), start);
    this.#tellTraces();
  }

  #tellSnapshot(snapshot: KnownSnapshot, usedAtMs: number): void {
    const { writer, keepMs } = this.#modules;
    const id = idOf(snapshot);
    this.#useToldAtMs.set(id, usedAtMs);
    const value = { ...snapshot, blobs: [...snapshot.blobs], message: textOf(snapshot.message), usedAtMs };
    writer.put(this.#snapshots.change(id, value as SharedSnapshot, { ttlMs: keepMs }));
  }

  #tellUse(snapshot: KnownSnapshot, usedAtMs: number): void {
    const toldAtMs = this.#useToldAtMs.get(idOf(snapshot)) ?? 0;
    if (usedAtMs - toldAtMs >= Math.min(USE_MS, this.#modules.keepMs / 4))
      this.#tellSnapshot(snapshot, usedAtMs);
  }

  #tellTraces(): void {
    const { traces, writer, keepMs } = this.#modules;
    for (const [id, start] of this.#untold) {
      const reports = traces.reports(start).map((report) => ({ ...report, ranges: textOf(report.ranges) }));
      const value = reports.length === 0 ? null : { ...start, reports };
      writer.put(this.#starts.change(id, value, value === null ? {} : { ttlMs: keepMs }));
    }
    this.#untold.clear();
  }

  /** One after the other, in the order in which they are heard of. */
  #takeSoon(take: () => Promise<void>): void {
    this.#taking = this.#taking.then(take).catch((error: unknown) => {
      this.#modules.log.warn({ error }, 'snapshots that others have announced are not known yet');
    });
  }

  async #takeSnapshots(keys: ChangedKeys): Promise<void> {
    const { catalogue, writer } = this.#modules;
    if (keys === null) {
      const unseen = new Set<string>();
      for (const { snapshot } of catalogue.all()) unseen.add(idOf(snapshot));
      for await (const { id, value } of this.#snapshots.all()) {
        unseen.delete(id);
        catalogue.take(snapshotOf(value), value.usedAtMs);
      }
      // Each is looked up once more: it may have been written since.
      await this.#takeSnapshots([...unseen].map((id) => this.#snapshots.prefix + id));
      return;
    }
    for (const id of idsOf(keys, this.#snapshots.prefix)) {
      const stored = await this.#snapshots.get(id);
      // What is about to be written here is newer.
      if (writer.isPending(this.#snapshots.prefix + id)) continue;
      if (stored !== undefined) catalogue.take(snapshotOf(stored.value), stored.value.usedAtMs);
      else for (const name of catalogue.namesOf(rootOf(id))) if (idOf(name) === id) this.#discard(id, name);
    }
  }

  #discard(id: string, name: SnapshotName): void {
    this.#useToldAtMs.delete(id);
    this.#modules.catalogue.discard(name);
  }

  async #takeStarts(keys: ChangedKeys): Promise<void> {
    if (keys === null) {
      for await (const { value } of this.#starts.all()) this.#takeStart(value);
      return;
    }
    for (const id of idsOf(keys, this.#starts.prefix)) {
      const stored = await this.#starts.get(id);
      // What others have forgotten stays here until there is no room for it.
      if (stored !== undefined) this.#takeStart(stored.value);
    }
  }

  #takeStart({ layout, startKey, reports }: SharedStart): void {
    const { traces, log } = this.#modules;
    try {
      traces.take(
        { layout, startKey },
        reports.map((report) => ({ ...report, ranges: Buffer.from(report.ranges, 'base64') })),
      );
    } catch (error) {
      log.warn({ layout, error }, 'what starts read is not what it should be, and is left out');
    }
  }
}

const idsOf = (keys: readonly string[], prefix: string): string[] =>
  keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

const snapshotOf = ({ message, usedAtMs: _, ...rest }: SharedSnapshot): KnownSnapshot => ({
  ...rest,
  blobs: rest.blobs.map(({ name: { table, ...name }, ...blob }) => ({
    ...blob,
    name: table === undefined ? name : { ...name, table },
  })),
  message: new Uint8Array(Buffer.from(message, 'base64')),
});

const hash = (...parts: readonly string[]): string => hexOf(digestOf(parts.join(' ')));
/** Begins with the root, by which what has gone is found here. */
const idOf = ({ registry, root, platform }: SnapshotName): string =>
  `${hexOf(root)}-${hash(registry, platform)}`;
const rootOf = (id: string): Digest => `sha256:${id.slice(0, 64)}` as Digest;
const idOfStart = ({ layout, startKey }: Start): string => hash(layout, startKey);
