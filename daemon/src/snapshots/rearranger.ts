import type { KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Digest,
  DrakkarError,
  encodePublicKey,
  hexOf,
  isDrakkarError,
  MAX_DEVICES,
  parseReference,
  type SnapshotConfig,
  type Trace,
} from '@drakkar/protocol';
import { composeArtifact, parseArtifact, rearrangeSnapshot } from '@drakkar/snapshotter';
import type { Announcer } from './announcer.ts';
import { type Catalogue, ofRepository, type SnapshotRecord } from './catalogue.ts';
import type { LearnedStarts } from './learned.ts';
import { isLocal, type Modules, rawDigests } from './modules.ts';
import { adoptAll, staged } from './staging.ts';
import { startKeyOf } from './start-key.ts';
import type { Volumes } from './volumes.ts';

export interface RearrangerOptions {
  /** After the first start of a snapshot is known of: until then others tell what they read. */
  readonly delayMs: number;
  readonly stallTimeoutMs: number;
  readonly builderKey: KeyObject;
}

export interface RearrangerModules extends Pick<Modules, 'store' | 'log'> {
  readonly catalogue: Pick<Catalogue, 'list' | 'get' | 'put'>;
  readonly learned: LearnedStarts;
  readonly volumes: Pick<Volumes, 'mounted' | 'umount'>;
  readonly announcer: Pick<Announcer, 'announce'> | undefined;
}

/** Of those that were built here, the newest are looked at. */
const MAX_LOOKED_AT = 32;
const SHORTEST_LOOK_MS = 200;
const LONGEST_LOOK_MS = 30_000;
/** After a failure: a disk may have room again, a helper be back. */
const RETRY_MS = 600_000;

/**
 * Lays snapshots that were built here out anew, once each, when it has been learned what starts of them read, and tells the cluster: whoever
 * starts them then fetches just that. In the background, one after the other. Hosts that have one as it was keep it.
 */
export class Rearranger implements AsyncDisposable {
  readonly #options: RearrangerOptions;
  readonly #modules: RearrangerModules;
  readonly #ending = new AbortController();
  /** When it was first seen that something has been learned, by layout. */
  readonly #learnedAtMs = new Map<Digest, number>();
  /** When those with which it did not work are tried again, by layout. */
  readonly #restsUntilMs = new Map<Digest, number>();
  #running: Promise<void> | undefined;

  constructor(options: RearrangerOptions, modules: RearrangerModules) {
    this.#options = options;
    this.#modules = modules;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    const lookMs = Math.min(LONGEST_LOOK_MS, Math.max(SHORTEST_LOOK_MS, this.#options.delayMs / 4));
    while (!signal.aborted) {
      await sleep(lookMs, undefined, { signal }).catch(() => {});
      const candidates = this.#modules.catalogue.list().filter((record) => this.#mayBe(record));
      for (const record of candidates.slice(-MAX_LOOKED_AT)) {
        if (!signal.aborted) await this.#lookAt(record);
      }
    }
  }

  #mayBe({ origin, config }: SnapshotRecord): boolean {
    const isAsBuilt = origin === 'built' && config.prefetch === undefined;
    const hasRoom = config.devices.length > 0 && config.devices.length < MAX_DEVICES;
    const restsUntilMs = this.#restsUntilMs.get(config.meta.rawDigest) ?? 0;
    return isAsBuilt && hasRoom && performance.now() >= restsUntilMs;
  }

  /** Never rejects. */
  async #lookAt(record: SnapshotRecord): Promise<void> {
    const { config, image } = record;
    const layout = config.meta.rawDigest;
    try {
      const reads = await this.#settledReads(config);
      if (reads.length === 0 || !(await this.#isFree(config))) return;
      this.#learnedAtMs.delete(layout);
      await this.#rearrange(record, reads);
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      this.#restsUntilMs.set(layout, performance.now() + RETRY_MS);
      this.#modules.log.warn({ image, error }, 'a snapshot stays laid out as it is for now');
    }
  }

  /** Nothing while more may be learned. */
  async #settledReads(config: SnapshotConfig): Promise<Trace> {
    const { learned } = this.#modules;
    const layout = config.meta.rawDigest;
    const reads = await learned.find(config, startKeyOf(), this.#ending.signal);
    if (reads.length === 0) return [];
    const sinceMs = this.#learnedAtMs.get(layout) ?? performance.now();
    this.#learnedAtMs.set(layout, sinceMs);
    return performance.now() - sinceMs >= this.#options.delayMs ? reads : [];
  }

  /** All of it is here, and no container uses it as it is. */
  async #isFree(config: SnapshotConfig): Promise<boolean> {
    const { store, volumes } = this.#modules;
    if (!(await isLocal(config, 'whole', store))) return false;
    const { signal } = this.#ending;
    if (!(await volumes.mounted({ signal })).has(hexOf(config.meta.rawDigest))) return true;
    try {
      await volumes.umount(config, { signal });
      return true;
    } catch (error) {
      if (isDrakkarError(error, 'busy')) return false;
      throw error;
    }
  }

  #rearrange(record: SnapshotRecord, reads: Trace): Promise<void> {
    const { store, catalogue, announcer, log } = this.#modules;
    const { builderKey, stallTimeoutMs } = this.#options;
    const { image, config, manifestDigest } = record;
    const { signal } = this.#ending;
    const { subject } = parseArtifact(record.artifact);
    if (subject === undefined) throw new DrakkarError('internal', `the artifact of ${image} is of nothing`);
    return staged(store, async (staging) => {
      const { directory, reservation, holder } = staging;
      for (const digest of rawDigests(config)) store.pin(digest, holder);
      const rearranged = await rearrangeSnapshot(
        {
          image,
          config,
          metaPath: store.pathOf(config.meta.rawDigest),
          rawPaths: this.#rawPaths(record),
          reads,
          outputDir: directory,
          stallTimeoutMs,
        },
        { reserve: async (bytes) => reservation.grow(bytes) },
        { signal },
      );
      await adoptAll(store, rearranged.files, staging);
      const { artifact, envelope } = composeArtifact({
        config: rearranged.config,
        subject,
        key: builderKey,
      });
      if (catalogue.get(manifestDigest)?.config.meta.rawDigest !== config.meta.rawDigest) return;
      const signer = encodePublicKey(builderKey);
      const anew = { ...record, config: rearranged.config, artifact, envelope, signer };
      catalogue.put(anew);
      announcer?.announce(anew);
      const startBytes = rearranged.devices.reduce((sum, { file }) => sum + file.rawSizeBytes, 0);
      log.info({ image, startBytes }, 'a snapshot is laid out as starts read it');
    });
  }

  /**
   * What lies on a device that other versions of the image use as well stays there alone: hosts that have run one of those have it, and an update
   * shall move what has changed and no more.
   */
  #rawPaths({ config, image, manifestDigest }: SnapshotRecord): (string | null)[] {
    const { catalogue, store } = this.#modules;
    const others = ofRepository(catalogue.list(), parseReference(image)).filter(
      (other) => other.manifestDigest !== manifestDigest,
    );
    const shared = new Set(others.flatMap((other) => other.config.devices.map(({ rawDigest }) => rawDigest)));
    return config.devices.map(({ rawDigest }) => (shared.has(rawDigest) ? null : store.pathOf(rawDigest)));
  }
}
