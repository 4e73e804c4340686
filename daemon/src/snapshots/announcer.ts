import { readFile } from 'node:fs/promises';
import { type Digest, parseReference } from '@drakkar/protocol';
import { newReceipt } from '../content/index.ts';
import type { Catalogue, SnapshotRecord } from './catalogue.ts';
import { allDigests, blobsOf, type Cluster, chunkListOf, filesOf, type Modules } from './modules.ts';

export interface AnnouncerModules extends Pick<Modules, 'content' | 'store' | 'log'> {
  readonly catalogue: Pick<Catalogue, 'list'>;
  readonly cluster: Cluster;
}

/** Of those that a supernode may not know, the newest are told. */
const MAX_ANNOUNCED = 32;

/**
 * Tells the cluster of snapshots that this host has built or found in a registry, so that other hosts need no registry to find them and no
 * push to get them; again whenever a supernode may have forgotten them. In the background, one after the other.
 */
export class Announcer implements AsyncDisposable {
  readonly #modules: AnnouncerModules;
  readonly #ending = new AbortController();
  readonly #pushed = new Set<Digest>();
  #running: Promise<void> = Promise.resolve();
  #isLooking = false;

  constructor(modules: AnnouncerModules) {
    this.#modules = modules;
  }

  /** Looks at once, and each time a supernode comes up, whether it knows what is here. */
  start(): void {
    this.#modules.cluster.onUp(() => {
      if (this.#isLooking) return;
      this.#isLooking = true;
      this.#later(async () => {
        this.#isLooking = false;
        await this.#announceUnknown();
      });
    });
  }

  /** A snapshot has been built, found in a registry, or pushed to it. */
  announce(record: SnapshotRecord, { isPushed = false }: { readonly isPushed?: boolean } = {}): void {
    if (isPushed) this.#pushed.add(record.manifestDigest);
    this.#later(() => this.#announce(record));
  }

  /** Everything that was to be told until now has been. */
  settled(): Promise<void> {
    return this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  #later(task: () => Promise<void>): void {
    const { signal } = this.#ending;
    this.#running = this.#running.then(async () => {
      try {
        if (!signal.aborted) await task();
      } catch (error) {
        if (!signal.aborted) this.#modules.log.warn({ error }, 'the cluster is not told of a snapshot');
      }
    });
  }

  async #announceUnknown(): Promise<void> {
    const { catalogue, cluster } = this.#modules;
    // What the cluster has given is for others to tell: who built it may be trusted no longer.
    const own = catalogue.list().filter(({ origin }) => origin !== 'cluster');
    for (const record of own.slice(-MAX_ANNOUNCED)) {
      const { platform, rootDigest: root } = record;
      const question = { repository: parseReference(record.image), platform, root };
      const layout = await cluster.layoutOf(question, this.#ending.signal);
      if (layout === undefined) return;
      if (layout === null) await this.#announce(record);
    }
  }

  async #announce(record: SnapshotRecord): Promise<void> {
    const { cluster, content, store, log } = this.#modules;
    const { config, documents, platform, imageConfig, artifact, envelope, manifestDigest } = record;
    const pushed = record.origin === 'registry' || this.#pushed.has(manifestDigest);
    await store.verify(allDigests(config));
    const isHere = filesOf(config)
      .flatMap(blobsOf)
      .every(({ digest }) => store.has(digest));
    // Nobody could have what is neither here nor there.
    if (documents.length === 0 || (!isHere && !pushed)) return;
    const repository = parseReference(record.image);
    for (const { blobDigest, piecesDigest } of filesOf(config)) {
      await content.offerPieces(repository, blobDigest, piecesDigest);
    }
    // Whoever builds the next version upon it wants this, too.
    for (const { digest } of chunkListOf(config)) content.offer(repository, digest);
    const tables = await this.#tables(record);
    const snapshot = { repository, platform, documents, imageConfig, artifact, envelope, tables, pushed };
    const isTold = cluster.announce(snapshot);
    if (!isTold) log.warn({ image: record.image }, 'a snapshot is too large for the cluster to be told of');
  }

  /** Of one that is not whole here some may have to be fetched. */
  async #tables({ image, config }: SnapshotRecord): Promise<Buffer[]> {
    const { content, store } = this.#modules;
    const tables: Buffer[] = [];
    for (const file of filesOf(config)) {
      const [, { digest, sizeBytes }] = blobsOf(file);
      const request = { image: parseReference(image), digest, sizeBytes };
      await content.fetch(request, newReceipt(), { signal: this.#ending.signal });
      tables.push(await readFile(store.pathOf(digest)));
    }
    return tables;
  }
}
