import { setTimeout as sleep } from 'node:timers/promises';
import type { PullRequest, PullResult, Receipt, SnapshotDetail } from '@drakkar/client';
import { type Digest, DrakkarError, type SnapshotConfig } from '@drakkar/protocol';
import type { PullOptions } from '../pull.ts';
import { RateLimit } from '../rate-limit.ts';
import {
  allDigests,
  filesOf,
  type Images,
  type Log,
  type SnapshotService,
  type Work,
} from '../snapshots/index.ts';
import { removeUnlessUsed, type Store } from '../store/index.ts';
import {
  type Bounds,
  boundsOf,
  type Part,
  type Presence,
  presenceOf,
  requireFits,
  tooMuch,
  type WantedBounds,
} from './bounds.ts';
import type { MeasurementOptions } from './options.ts';

export interface MeasurementRequest extends WantedBounds {
  readonly what: 'pull' | 'start';
  readonly image: string;
  readonly platform?: string | undefined;
  /** Also where it is here already. */
  readonly warm: boolean;
  /** Of a pull; `null` is no limit. */
  readonly bytesPerSecond: number | null;
}

export interface Measured extends Presence {
  readonly manifestDigest: Digest;
  readonly elapsedMs: number;
  /** Of a start: until its root file system could be used. */
  readonly mountedMs: number | null;
  readonly receipt: Receipt;
}

export interface MeasurementsModules {
  readonly store: Pick<Store, 'list' | 'usage' | 'pin' | 'unpin' | 'holders' | 'remove'>;
  readonly images: Pick<Images, 'resolve'>;
  readonly snapshots: Pick<
    SnapshotService,
    'start' | 'endStart' | 'startStatus' | 'untilForeseen' | 'list' | 'inspect' | 'umount' | 'remove'
  >;
  pull(request: PullRequest, work: Work, options: PullOptions): Promise<PullResult>;
  readonly log: Log;
}

/** Pins of what measurements have brought; those that are left when the daemon starts belong to nobody. */
const HOLDER_PREFIX = 'measurement:';
/** As often it is looked whether too much has come. */
const LOOK_MS = 100;
/** Longer than a download goes on that nobody waits for. */
const TRIES = 20;
const TRY_AGAIN_MS = 500;

/** What a measurement has brought, which others may have from here until all have ended theirs. */
interface Brought {
  readonly digests: readonly Digest[];
  /** The manifest of a snapshot that was not here before. */
  readonly snapshot: Digest | undefined;
  readonly timer: NodeJS.Timeout;
}

/**
 * Pulls and starts images for the sake of what that takes: one at a time, within bounds, and never at the cost of what else is here. What one brought stays until
 * {@link release}, so that hosts that are measured together have it from each other, or until its time is over.
 */
export class Measurements implements AsyncDisposable {
  readonly #options: MeasurementOptions;
  readonly #modules: MeasurementsModules;
  readonly #brought = new Map<string, Brought>();
  readonly #releasing = new Set<Promise<void>>();
  #isBusy = false;

  constructor(options: MeasurementOptions, modules: MeasurementsModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * @param id by which it is released
   * @throws `forbidden`, `limit_exceeded`, `no_space`; `busy` while another is measured; `already_exists` where there is nothing to measure; `timeout`; what
   * the pull or the start throws
   */
  async measure(id: string, request: MeasurementRequest, work: Work): Promise<Measured> {
    const bounds = boundsOf(request, this.#options);
    await Promise.all(this.#releasing);
    work.signal.throwIfAborted();
    if (this.#isBusy || this.#brought.has(id)) {
      throw new DrakkarError('busy', 'this host is being measured already', { hint: 'wait for its end' });
    }
    this.#isBusy = true;
    try {
      return await this.#measure(id, request, bounds, work);
    } finally {
      this.#isBusy = false;
    }
  }

  /** Takes away what a measurement has brought, but for what somebody else uses by now. Never rejects. */
  async release(id: string): Promise<void> {
    const brought = this.#brought.get(id);
    if (brought === undefined) return;
    this.#brought.delete(id);
    clearTimeout(brought.timer);
    const releasing = this.#remove(HOLDER_PREFIX + id, brought);
    this.#releasing.add(releasing);
    await releasing;
    this.#releasing.delete(releasing);
  }

  /** Takes away what measurements of an earlier daemon have left. Never rejects. */
  async takeOver(): Promise<void> {
    const { snapshots, store } = this.#modules;
    for (const holder of store.holders().filter((each) => each.startsWith(HOLDER_PREFIX))) {
      const kept = store.list().filter(({ holders }) => holders.includes(holder));
      const digests = kept.map(({ digest }) => digest);
      const isOf = ({ config }: SnapshotDetail) => digests.includes(config.meta.rawDigest);
      const all = await Promise.all(
        (await snapshots.list()).map(({ manifestDigest }) => snapshots.inspect(manifestDigest)),
      );
      await this.#remove(holder, { digests, snapshot: all.find(isOf)?.manifestDigest });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of [...this.#brought.keys()]) await this.release(id);
  }

  async #measure(id: string, request: MeasurementRequest, bounds: Bounds, work: Work): Promise<Measured> {
    const { store } = this.#modules;
    const before = new Map(store.list().map(({ digest, presentBytes }) => [digest, presentBytes]));
    const bound = new AbortController();
    const end = (error: unknown) => bound.abort(error);
    const late = new DrakkarError('timeout', `it took more than ${bounds.withinMs} ms`, {
      hint: 'give it more time with --within',
    });
    const timer = setTimeout(() => end(late), bounds.withinMs);
    const until = work.until(AbortSignal.any([work.signal, bound.signal]));
    const came = new Came(HOLDER_PREFIX + id, bounds.mostBytes, before, store);
    let isDone = false;
    try {
      const measured = await (request.what === 'pull'
        ? this.#pull(request, came, until)
        : this.#start(request, came, until, end));
      until.signal.throwIfAborted();
      isDone = true;
      return measured;
    } catch (error) {
      throw bound.signal.aborted ? bound.signal.reason : error;
    } finally {
      clearTimeout(timer);
      const stays = setTimeout(() => void this.release(id), this.#options.withinMs);
      this.#brought.set(id, { digests: came.digests, snapshot: came.snapshot, timer: stays });
      // The next one waits for that.
      if (!isDone) void this.release(id);
    }
  }

  async #remove(holder: string, { snapshot, digests }: Omit<Brought, 'timer'>): Promise<void> {
    const { snapshots, store, log } = this.#modules;
    store.unpin(holder);
    try {
      if (snapshot !== undefined) {
        await snapshots.umount(snapshot);
        await snapshots.remove(snapshot);
      }
      // A download that nobody waits for any more goes on for a moment.
      let left = digests;
      for (let tries = 0; left.length > 0 && tries < TRIES; tries += 1) {
        if (tries > 0) await sleep(TRY_AGAIN_MS);
        left = left.filter((digest) => !removeUnlessUsed(store, digest));
      }
    } catch (error) {
      log.info({ holder, error }, 'what a measurement has brought stays');
    }
  }

  async #pull(request: MeasurementRequest, came: Came, work: Work): Promise<Measured> {
    const { image, platform, warm, bytesPerSecond } = request;
    const rate = new RateLimit(bytesPerSecond);
    let movedBytes = 0;
    let presence: Presence | undefined;
    const result = await this.#modules.pull({ image, platform }, work, {
      onParts: ({ documents, config, layers }) => {
        presence = came.expect(layers, [...documents, config]);
        const isHere = presence.hereBytes === presence.sizeBytes;
        if (isHere && !warm) throw nothingToMeasure('its layers are here already');
      },
      pass: async (bytes, signal) => {
        movedBytes += bytes;
        came.requireFew(movedBytes);
        await rate.pass(bytes, signal);
      },
    });
    const { sizeBytes, manifestDigest, receipt, elapsedMs } = result;
    return { sizeBytes, hereBytes: 0, ...presence, manifestDigest, elapsedMs, mountedMs: null, receipt };
  }

  async #start(
    request: MeasurementRequest,
    came: Came,
    work: Work,
    end: (error: unknown) => void,
  ): Promise<Measured> {
    const { snapshots, images } = this.#modules;
    const { warm, image, platform } = request;
    const startedMs = performance.now();
    const { record } = await images.resolve(image, platform, work);
    if (record !== undefined && !warm) throw nothingToMeasure('its snapshot is here already');
    let presence: Presence | undefined;
    const expect = (config: SnapshotConfig) => {
      const files = filesOf(config).map(({ rawDigest: digest, rawSizeBytes: size }) => ({ digest, size }));
      presence ??= came.expect(
        files,
        allDigests(config).map((digest) => ({ digest, size: 0 })),
      );
    };
    const onFound = (config: SnapshotConfig) => {
      try {
        expect(config);
      } catch (error) {
        end(error);
      }
    };
    if (record !== undefined) expect(record.config);
    const choice = { image, platform, ownerPid: process.pid };
    const starting = snapshots.start(choice, work, { mayBuild: false, onFound });
    const { id, manifestDigest } = await starting.finally(async () => {
      // It may have been come by, and not mounted.
      if (record === undefined)
        came.snapshot = (await images.resolve(image, platform, work)).record?.manifestDigest;
    });
    const mountedMs = performance.now() - startedMs;
    const look = async () => {
      const { receipt } = await snapshots.startStatus(id, work);
      came.requireFew(receipt.upstreamBytes + receipt.peerBytes + receipt.discardedBytes);
      return receipt;
    };
    const looking = setInterval(() => void look().catch(end), LOOK_MS);
    try {
      await snapshots.untilForeseen(manifestDigest, work);
      const elapsedMs = performance.now() - startedMs;
      const receipt = await look();
      return { sizeBytes: 0, hereBytes: 0, ...presence, manifestDigest, elapsedMs, mountedMs, receipt };
    } finally {
      clearInterval(looking);
      await snapshots.endStart(id);
    }
  }
}

/** What comes for one measurement. */
class Came {
  /** That were not here before. */
  digests: readonly Digest[] = [];
  snapshot: Digest | undefined;
  readonly #holder: string;
  readonly #mostBytes: number;
  readonly #before: ReadonlyMap<Digest, number>;
  readonly #store: MeasurementsModules['store'];

  constructor(
    holder: string,
    mostBytes: number,
    before: ReadonlyMap<Digest, number>,
    store: MeasurementsModules['store'],
  ) {
    this.#holder = holder;
    this.#mostBytes = mostBytes;
    this.#before = before;
    this.#store = store;
  }

  /** @param others what comes with it and is not counted @throws `limit_exceeded`, `no_space` */
  expect(measured: readonly Part[], others: readonly Part[]): Presence {
    const presence = presenceOf(measured, this.#before);
    const { quotaBytes, contentBytes, reservedBytes } = this.#store.usage();
    const missingBytes = presence.sizeBytes - presence.hereBytes;
    requireFits(missingBytes, this.#mostBytes, quotaBytes - contentBytes - reservedBytes);
    const all = new Set([...measured, ...others].map(({ digest }) => digest));
    this.digests = [...all].filter((digest) => !this.#before.has(digest));
    for (const digest of this.digests) this.#store.pin(digest, this.#holder);
    return presence;
  }

  /** @throws `limit_exceeded` where more has come than is allowed */
  requireFew(bytes: number): void {
    if (bytes > this.#mostBytes) throw tooMuch(bytes, this.#mostBytes);
  }
}

const nothingToMeasure = (why: string): DrakkarError =>
  new DrakkarError('already_exists', `nothing would be measured: ${why}`, {
    hint: 'measure with --warm what it takes where it is here, or have hosts give it up: `drakkar jobs evict`',
  });
