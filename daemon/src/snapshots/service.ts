import type {
  BuildResult,
  MountResult,
  Receipt,
  SnapshotDetail,
  SnapshotSummary,
  SnapshotTrace,
  StartResult,
  StartStatus,
  VerifyResult,
} from '@drakkar/client';
import {
  chainIdsOf,
  type Digest,
  DrakkarError,
  digestOf,
  formatReference,
  isDigest,
  isDrakkarError,
  parseImageConfig,
  parseReference,
  type SnapshotConfig,
  type Trace,
  toDrakkarError,
} from '@drakkar/protocol';
import type { FileRange, FlatStream } from '@drakkar/snapshotter';
import { addReceipts, type ReceiptCounter, receivedSince } from '../content/index.ts';
import type { Filler } from '../fill/index.ts';
import type { VolumeStatus } from '../native.ts';
import { removeUnlessUsed } from '../store/index.ts';
import type { AcquireOptions, Acquirer, Acquisition } from './acquire.ts';
import type { Catalogue, SnapshotRecord } from './catalogue.ts';
import type { Images } from './images.ts';
import type { LearnedStarts } from './learned.ts';
import { type Abortable, allDigests, filesOf, isLocal, type Store } from './modules.ts';
import { prefixOf } from './prefix.ts';
import { residencyOf } from './residency.ts';
import { type StartCommand, startKeyOf } from './start-key.ts';
import type { StartTracer } from './start-tracer.ts';
import { type Mountable, type Volumes, volumeId } from './volumes.ts';
import type { Work } from './work.ts';

export interface ImageChoice {
  readonly image: string;
  readonly platform?: string | undefined;
}

/** An image, how it is to be started, and the process that will run a container of it. */
export interface StartChoice extends ImageChoice, StartCommand {
  readonly ownerPid?: number | undefined;
}

export interface StartOptions {
  /** Make a snapshot where there is none; else that is an error. True unless said otherwise. */
  readonly mayBuild?: boolean;
  /** Called when a snapshot is being fetched. */
  onFound?(config: SnapshotConfig): void;
}

/** A snapshot that has been come by. */
export interface Acquired extends BuildResult {
  /** Digest of its raw meta. */
  readonly layout: Digest;
}

/** A container that may be running. */
interface Start {
  readonly record: SnapshotRecord;
  readonly receipt: ReceiptCounter;
  /** What had come for its devices before it began. */
  readonly before: Receipt;
}

export interface ServiceModules {
  readonly images: Images;
  readonly acquirer: Acquirer;
  readonly catalogue: Catalogue;
  readonly volumes: Volumes;
  readonly store: Store;
  readonly filler: Pick<Filler, 'received' | 'fetchAhead' | 'prefetch'>;
  /** Reads every byte of a snapshot's files and checks it. */
  verify(record: SnapshotRecord, work: Work): Promise<number>;
  readonly learned: LearnedStarts;
  /** A root file system was made ready that was not before. */
  started(start: { image: string; found: BuildResult['found']; totalMs: number }): void;
  readonly tracer: Pick<StartTracer, 'foresee' | 'begin' | 'ended'>;
  /** Which parts of files of a snapshot lie in ranges of its devices. */
  filesIn(
    record: SnapshotRecord,
    ranges: Trace,
    options: Abortable,
  ): Promise<readonly (readonly FileRange[])[]>;
  /** One block image of a snapshot, as bytes. */
  flatten(record: SnapshotRecord, options: Abortable): Promise<FlatStream>;
}

/** Everything that can be done with snapshots on this host; the admin API is this over HTTP. */
export class SnapshotService {
  readonly #modules: ServiceModules;
  readonly #starts = new Map<string, Start>();

  constructor(modules: ServiceModules) {
    this.#modules = modules;
  }

  async list(options: Abortable = {}): Promise<SnapshotSummary[]> {
    const mounted = await this.#modules.volumes.mounted(options);
    return this.#modules.catalogue.list().map((record) => this.#summary(record, mounted));
  }

  async inspect(name: string, options: Abortable = {}): Promise<SnapshotDetail> {
    const record = this.find(name);
    const summary = this.#summary(record, await this.#modules.volumes.mounted(options));
    return { ...summary, artifactDigest: digestOf(record.artifact), config: record.config };
  }

  /** Makes sure that a snapshot of the image is here: known, found in the registry, or built. */
  async build(choice: ImageChoice & { push: boolean; rebuild: boolean }, work: Work): Promise<Acquired> {
    const { rebuild } = choice;
    const wanted = { rebuild, extent: 'whole', startKey: startKeyOf() } as const;
    const acquisition = await this.#acquire(choice, wanted, work);
    const { record } = acquisition;
    if (choice.push) await this.#modules.acquirer.push(acquisition.image.reference, record, work);
    return await this.#acquired(acquisition, choice.push, work);
  }

  /**
   * Brings a snapshot that others have here, and builds none: all of it, or what its mount and a start of it need.
   *
   * @throws `not_found` where nobody has one
   */
  async fetch(choice: ImageChoice, extent: 'whole' | 'start', work: Work): Promise<Acquired> {
    const startKey = startKeyOf();
    const isWhole = extent === 'whole';
    const wanted = { rebuild: false, extent: isWhole ? extent : 'meta', startKey, mayBuild: false } as const;
    const acquisition = await this.#acquire(choice, wanted, work);
    const ahead = isWhole ? undefined : await this.#fetchStart(acquisition, startKey, work);
    const acquired = await this.#acquired(acquisition, false, work);
    return ahead === undefined ? acquired : { ...acquired, receipt: addReceipts(acquired.receipt, ahead) };
  }

  /** Returns when all is here that starts of a snapshot are known to read. @throws `unavailable` where some of it can't be had */
  async untilForeseen(name: string, work: Work): Promise<void> {
    const { learned, filler, store } = this.#modules;
    const { config } = this.find(name);
    const list = await learned.find(config, startKeyOf(), work.signal);
    const isFilling = config.devices.map(({ rawDigest }) => !store.has(rawDigest, 'volume'));
    const missing = list.filter(({ device }) => isFilling[device] === true);
    if (missing.length === 0 || (await filler.prefetch(config, missing, work.signal))) return;
    work.signal.throwIfAborted();
    throw new DrakkarError('unavailable', 'not all can be had that starts are known to read', {
      hint: 'the daemon’s log says why, at its level debug',
    });
  }

  /** What starts are known to read. What can't be had now is wanted again by whoever reads it. */
  async #fetchStart({ image, record }: Acquisition, startKey: Digest, work: Work): Promise<Receipt> {
    const { learned, filler, volumes } = this.#modules;
    const { config } = record;
    const before = filler.received(config).summary();
    const list = await learned.find(config, startKey, work.signal);
    try {
      if (list.length > 0) await filler.fetchAhead({ image: image.reference, config }, list, work.signal);
      return receivedSince(before, filler.received(config).summary());
    } finally {
      await volumes.abandon(config);
    }
  }

  async #acquired({ record, found }: Acquisition, pushed: boolean, work: Work): Promise<Acquired> {
    const summary = this.#summary(record, await this.#modules.volumes.mounted(work));
    return {
      ...summary,
      found,
      artifactDigest: digestOf(record.artifact),
      layout: record.config.meta.rawDigest,
      pushed,
      receipt: work.receipt.summary(),
      marks: work.timeline.marks,
    };
  }

  /** Prepares a writable root file system for a container of the image. */
  async start(
    choice: StartChoice,
    work: Work,
    { mayBuild = true, onFound: told }: StartOptions = {},
  ): Promise<StartResult> {
    const extent = await this.#modules.volumes.extent(work);
    const { filler, tracer, volumes } = this.#modules;
    const startKey = startKeyOf(choice);
    let foreseen: { readonly config: SnapshotConfig; readonly before: Receipt } | undefined;
    const onFound = (mountable: Mountable) => {
      told?.(mountable.config);
      // What is fetched whole needs no other order.
      if (extent === 'whole') return;
      foreseen = { config: mountable.config, before: filler.received(mountable.config).summary() };
      tracer.foresee(mountable, startKey, work);
    };
    const wanted = { rebuild: false, extent, startKey, mayBuild, onFound };
    try {
      const acquired = await this.#acquire(choice, wanted, work);
      work.signal.throwIfAborted();
      const { record, found, image } = acquired;
      const before = foreseen?.before ?? filler.received(record.config).summary();
      const again = this.#onceThen(acquired, () => this.#acquire(choice, wanted, work));
      const { ownerPid } = choice;
      const { id, rootfs } = await this.#unlessEvicted(again, wanted, work, (mountable, onMounted) =>
        volumes.prepareStart(mountable, { ownerPid, onMounted, signal: work.signal }),
      );
      work.timeline.mark('mounted');
      const totalMs = work.timeline.marks.at(-1)?.atMs ?? 0;
      this.#modules.started({ image: image.name, found, totalMs });
      this.#starts.set(id, { record, receipt: work.receipt, before });
      return {
        id,
        rootfs,
        image: image.name,
        manifestDigest: record.manifestDigest,
        imageConfig: parseImageConfig(record.imageConfig),
        found,
        receipt: work.receipt.summary(),
        marks: work.timeline.marks,
      };
    } catch (error) {
      if (foreseen !== undefined) await volumes.abandon(foreseen.config);
      throw error;
    }
  }

  /** Another number when an image may have another snapshot than before. */
  get changes(): number {
    return this.#modules.catalogue.changes;
  }

  /** Whether a snapshot of an image that is named by its manifest is known here. */
  isKnown(image: string): boolean {
    const { digest } = parseReference(image);
    return digest !== undefined && this.#modules.catalogue.has(digest);
  }

  /**
   * The chain ids of an image's layers, the lowest first, where it has a snapshot.
   *
   * @param mayBuild make one where there is none
   * @throws `not_found` where there is none and shall be none
   */
  async chainIds(image: string, mayBuild: boolean, work: Work): Promise<Digest[]> {
    const extent = await this.#modules.volumes.extent(work);
    const wanted = { rebuild: false, extent, startKey: startKeyOf(), mayBuild };
    const { record } = await this.#acquire({ image }, wanted, work);
    return chainIdsOf(parseImageConfig(record.imageConfig).rootfs.diff_ids ?? []);
  }

  /**
   * Mounts an image's snapshot where it is not mounted yet, or that of its lowest layers alone. Gives the volume's id.
   *
   * @param layers nothing for all of them
   */
  async mountImage(image: string, layers: number | undefined, work: Work): Promise<string> {
    const extent = await this.#modules.volumes.extent(work);
    const wanted = { rebuild: false, extent, startKey: startKeyOf() };
    let found: Acquisition['found'] = 'here';
    const acquire = async () => {
      const acquired = await this.#acquire({ image }, wanted, work);
      found = acquired.found;
      if (layers === undefined) return acquired;
      const record = await this.#modules.acquirer.acquirePrefix(acquired.record, layers, extent, work);
      return { ...acquired, record };
    };
    const startedMs = performance.now();
    return await this.#unlessEvicted(acquire, wanted, work, async (mountable, onMounted) => {
      const isNew = (status: VolumeStatus) => {
        onMounted(status);
        this.#modules.started({ image, found, totalMs: performance.now() - startedMs });
      };
      await this.#modules.volumes.mount(mountable, { onMounted: isNew, signal: work.signal });
      return volumeId(mountable.config);
    });
  }

  /** Takes down the mounts of an image's snapshot and of those of its lowest layers. @throws `busy` while something uses one */
  async umountImage(image: string, { signal }: Work): Promise<void> {
    const { catalogue, tracer, volumes } = this.#modules;
    const { digest } = parseReference(image);
    const record = digest === undefined ? undefined : catalogue.get(digest);
    if (record === undefined) return;
    const layers = parseImageConfig(record.imageConfig).rootfs.diff_ids?.length ?? 0;
    const prefixes = Array.from({ length: record.documents.length === 0 ? 0 : layers }, (_, below) =>
      prefixOf(record, below + 1),
    );
    const records = prefixes.flatMap(({ resolved }) => catalogue.get(resolved.manifestDigest) ?? []);
    const umounts = [record, ...records].map(async ({ config }) => {
      await tracer.ended(config);
      await volumes.umount(config, { signal });
    });
    const refused = (await Promise.allSettled(umounts)).find(({ status }) => status === 'rejected');
    if (refused?.status === 'rejected') throw refused.reason;
  }

  /** What has been acquired already, the first time. */
  #onceThen<Value>(first: Value, later: () => Promise<Value>): () => Promise<Value> {
    let known: Value | undefined = first;
    return async () => {
      const value = known ?? (await later());
      known = undefined;
      return value;
    };
  }

  /** Between coming by a snapshot and mounting it nothing holds its files; where they were evicted, they come back once. */
  async #unlessEvicted<Result>(
    acquire: () => Promise<Pick<Acquisition, 'image' | 'record'>>,
    wanted: AcquireOptions,
    work: Work,
    mount: (mountable: Mountable, onMounted: (status: VolumeStatus) => void) => Promise<Result>,
  ): Promise<Result> {
    const { tracer, store } = this.#modules;
    const attempt = ({ record: { config }, image }: Pick<Acquisition, 'image' | 'record'>) =>
      mount({ config, image: image.reference }, (status) => tracer.begin(config, wanted.startKey, status));
    const acquired = await acquire();
    try {
      return await attempt(acquired);
    } catch (error) {
      const isEvicted = isDrakkarError(error, 'not_found');
      if (!isEvicted || (await isLocal(acquired.record.config, wanted.extent, store))) throw error;
      work.signal.throwIfAborted();
      return await attempt(await acquire());
    }
  }

  /** @throws `not_found` for a start that this daemon has not made, or that has ended */
  async startStatus(id: string, options: Abortable = {}): Promise<StartStatus> {
    const start = this.#starts.get(id);
    if (start === undefined) {
      throw new DrakkarError(
        'not_found',
        `there is no start ${JSON.stringify(id.slice(0, 100))} of this daemon`,
      );
    }
    const { config } = start.record;
    const mounted = await this.#modules.volumes.mounted(options);
    const filled = this.#modules.filler.received(config).summary();
    const since = receivedSince(start.before, filled);
    return {
      receipt: addReceipts(start.receipt.summary(), since),
      ...residencyOf(config, this.#modules.store, mounted.get(volumeId(config))),
    };
  }

  async endStart(id: string, options: Abortable = {}): Promise<void> {
    const start = this.#starts.get(id);
    if (start !== undefined) void this.#modules.tracer.ended(start.record.config);
    await this.#modules.volumes.endStart(id, options);
    this.#starts.delete(id);
  }

  async mount(name: string, options: Abortable = {}): Promise<MountResult> {
    const { config, image } = this.find(name);
    const mountable = { config, image: parseReference(image) };
    const status = await this.#modules.volumes.mount(mountable, options);
    const { residency } = residencyOf(config, this.#modules.store, status);
    return { path: status.path, backing: status.backing, residency };
  }

  async umount(name: string, options: Abortable = {}): Promise<void> {
    await this.#modules.volumes.umount(this.find(name).config, options);
  }

  async verify(name: string, work: Work): Promise<VerifyResult> {
    const record = this.find(name);
    const verifiedBytes = await this.#modules.verify(record, work);
    return { manifestDigest: record.manifestDigest, verifiedBytes };
  }

  /** What starts of a snapshot read, and how well the last ones were foreseen. */
  async trace(name: string, options: Abortable = {}): Promise<SnapshotTrace> {
    const { learned, filesIn } = this.#modules;
    const record = this.find(name);
    const { config, image, manifestDigest } = record;
    const signal = options.signal ?? new AbortController().signal;
    const ranges = await learned.find(config, startKeyOf(), signal);
    const files = ranges.length === 0 ? [] : await filesIn(record, ranges, { signal });
    return {
      image,
      manifestDigest,
      ranges: ranges.map((range, index) => ({ ...range, paths: pathsOf(files[index] ?? []) })),
      starts: learned.starts(config),
    };
  }

  async flatImage(name: string, options: Abortable = {}): Promise<FlatStream> {
    return await this.#modules.flatten(this.find(name), options);
  }

  /** Forgets a snapshot, and gives back the space of what no other uses. @throws `busy` while it is mounted */
  async remove(name: string, options: Abortable = {}): Promise<void> {
    const { catalogue, store, volumes } = this.#modules;
    const record = this.find(name);
    const removeFiles = () => {
      catalogue.remove(record.manifestDigest);
      const others = new Set(catalogue.list().flatMap(({ config }) => allDigests(config)));
      for (const digest of allDigests(record.config))
        if (!others.has(digest)) removeUnlessUsed(store, digest);
    };
    await volumes.whileUnmounted(record.config, removeFiles, options);
  }

  /** A snapshot by image reference, manifest digest, or the first hex digits of one. */
  find(name: string): SnapshotRecord {
    const { catalogue } = this.#modules;
    const byDigest = isDigest(name) ? catalogue.get(name) : undefined;
    if (byDigest !== undefined) return byDigest;
    const hex = name.replace(/^sha256:/, '');
    const records = catalogue.list();
    const byPrefix = /^[0-9a-f]{4,64}$/.test(hex)
      ? records.filter(({ manifestDigest }) => manifestDigest.startsWith(`sha256:${hex}`))
      : [];
    const matches = byPrefix.length > 0 ? byPrefix : records.filter(({ image }) => image === canonical(name));
    const [match, ...rest] = matches;
    if (match === undefined) {
      throw new DrakkarError('not_found', `there is no snapshot ${JSON.stringify(name.slice(0, 300))} here`, {
        hint: '`drakkar snapshot ls` lists them; `drakkar snapshot build IMAGE` makes one',
      });
    }
    if (rest.length > 0 && byPrefix.length > 0) {
      throw new DrakkarError(
        'invalid_argument',
        `${name} begins the digests of ${matches.length} snapshots`,
        {
          hint: 'give more of its digits',
        },
      );
    }
    return matches.at(-1) ?? match;
  }

  async #acquire(choice: ImageChoice, wanted: AcquireOptions, work: Work): Promise<Acquisition> {
    try {
      const image = await this.#modules.images.resolve(choice.image, choice.platform, work);
      work.timeline.mark('resolved');
      return await this.#modules.acquirer.acquire(image, wanted, work);
    } catch (cause) {
      throw aboutImage(choice.image, cause);
    }
  }

  #summary(record: SnapshotRecord, mounted: ReadonlyMap<string, VolumeStatus>): SnapshotSummary {
    const { config } = record;
    const files = filesOf(config);
    const sum = (size: (file: (typeof files)[number]) => number) =>
      files.reduce((total, file) => total + size(file), 0);
    return {
      image: record.image,
      manifestDigest: record.manifestDigest,
      platform: record.platform,
      origin: record.origin,
      signer: record.signer,
      createdAtMs: record.createdAtMs,
      files: config.files,
      devices: config.devices.length,
      imageSizeBytes: record.imageSizeBytes,
      blobSizeBytes: sum((file) => file.blobSizeBytes + file.piecesSizeBytes),
      metaBlobSizeBytes: config.meta.blobSizeBytes,
      rawSizeBytes: sum(({ rawSizeBytes }) => rawSizeBytes),
      ...residencyOf(config, this.#modules.store, mounted.get(volumeId(config))),
      path: mounted.get(volumeId(config))?.path ?? null,
    };
  }
}

/** Names have a character for each byte. */
function pathsOf(files: readonly FileRange[]): string[] {
  return [...new Set(files.map(({ path }) => Buffer.from(path, 'latin1').toString('utf8')))];
}

function canonical(name: string): string | undefined {
  try {
    return formatReference(parseReference(name));
  } catch {
    return undefined;
  }
}

/** Errors of the store and of registries speak of a blob: people want to know which image it is for. */
function aboutImage(image: string, cause: unknown): DrakkarError {
  const error = toDrakkarError(cause);
  if (error.message.includes(image)) return error;
  const { code, message, hint, details } = error;
  return new DrakkarError(code, `${image}: ${message}`, { hint, details, cause });
}
