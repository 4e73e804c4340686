import type { KeyObject } from 'node:crypto';
import type { BuildResult } from '@drakkar/client';
import {
  type Digest,
  DrakkarError,
  encodePublicKey,
  formatPlatform,
  type ImageReference,
  isDrakkarError,
  parsePlatform,
  parseReference,
  type VolumeFile,
} from '@drakkar/protocol';
import type { AskedName, Names } from '../swarm/index.ts';
import type { ResolvedImage } from '../upstream/index.ts';
import type { Announcer } from './announcer.ts';
import { type BuildOptions, buildFromLayers } from './build.ts';
import { buildName, buildNameAfter } from './build-name.ts';
import { type Catalogue, newestOf, type SnapshotRecord } from './catalogue.ts';
import { askCluster, fetchGiven, type GivenSnapshot } from './cluster.ts';
import { chooseEarlier } from './dictionary.ts';
import { restoreFiles } from './files.ts';
import { findSnapshot } from './found.ts';
import { type Image, type Images, requirePlatform } from './images.ts';
import { lastReads } from './last-reads.ts';
import type { LearnedStarts } from './learned.ts';
import { blobsOf, type Extent, isLocal, type Modules, rawDigests, type SnapshotParts } from './modules.ts';
import { nameOf, prefixOf } from './prefix.ts';
import { pushSnapshot } from './push.ts';
import { SingleFlight } from './single-flight.ts';
import type { Mountable } from './volumes.ts';
import type { Work } from './work.ts';

/** Who builds says so often that it does. */
const ALIVE_MS = 1_000;
/** Snapshots that others have built and that are gone again, before nobody is waited for any more. */
const MOST_LOST = 3;

export interface AcquirerOptions extends BuildOptions {
  /** Look in the image's registry before building. */
  readonly useRegistry: boolean;
  /** Build upon an earlier snapshot of the same repository. */
  readonly buildUponEarlier: boolean;
  /** Whose snapshots are used; this host's own key is among them. */
  readonly trustedKeys: readonly KeyObject[];
  /** Builders that the cluster vouches for are trusted, too. */
  readonly trustCluster: boolean;
}

export interface AcquireOptions {
  /** Build even where a snapshot is known. */
  readonly rebuild: boolean;
  readonly extent: Extent;
  /** How it is going to be started. */
  readonly startKey: Digest;
  /** Build it where there is none; else that is an error. True unless said otherwise. */
  readonly mayBuild?: boolean;
  /** Called when a snapshot is being fetched, as soon as what is wanted of it has come. */
  readonly onFound?: (mountable: Mountable) => void;
}

export interface AcquirerModules extends Modules {
  readonly images: Images;
  readonly catalogue: Catalogue;
  readonly learned: LearnedStarts;
  readonly announcer: Announcer | undefined;
  /** Who builds what, where there are other hosts. */
  readonly builds: Pick<Names, 'ask' | 'tell'> | undefined;
}

export interface Acquisition {
  readonly image: Image;
  readonly record: SnapshotRecord;
  readonly found: BuildResult['found'];
}

type Acquired = Omit<Acquisition, 'image'>;

/** Of several hosts that would build the same, this one's. */
interface Turn {
  /** By what the others ask for it. */
  readonly name: Digest;
  readonly asked: AskedName;
}

/** Comes by the snapshot of an image: it is here, or in the cluster, or in the image's registry, or it is built. */
export class Acquirer {
  readonly #options: AcquirerOptions;
  readonly #modules: AcquirerModules;
  readonly #images: Images;
  readonly #catalogue: Catalogue;
  readonly #flights = new SingleFlight<string, Acquired>();

  constructor(options: AcquirerOptions, modules: AcquirerModules) {
    this.#options = options;
    this.#modules = modules;
    this.#images = modules.images;
    this.#catalogue = modules.catalogue;
  }

  async acquire(image: Image, wanted: AcquireOptions, work: Work): Promise<Acquisition> {
    const { store } = this.#modules;
    const { record } = image;
    const { rebuild, extent } = wanted;
    const isKnown = record !== undefined && !rebuild;
    if (isKnown && (await isLocal(record.config, extent, store)) && (await this.#isReachable(record, work))) {
      for (const digest of rawDigests(record.config)) store.touch(digest);
      return { image, ...foundHere(record, work) };
    }
    const what = rebuild ? 'rebuild' : `${extent} ${wanted.mayBuild ?? true}`;
    const key = `${image.rootDigest} ${formatPlatform(image.platform)} ${what}`;
    const acquired = await this.#flights.run(key, work.signal, (signal) =>
      this.#fetchOrBuild(image, wanted, work.until(signal)),
    );
    return { image, ...acquired };
  }

  /** The snapshot of an image's lowest layers alone, which is built where it is not here. */
  async acquirePrefix(
    whole: SnapshotRecord,
    layers: number,
    extent: Extent,
    work: Work,
  ): Promise<SnapshotRecord> {
    const prefix = prefixOf(whole, layers);
    const { reference, manifestDigest } = prefix.resolved;
    const record = this.#catalogue.get(manifestDigest);
    const platform = parsePlatform(whole.platform);
    const image: Image = {
      reference,
      name: nameOf(prefix),
      platform,
      rootDigest: manifestDigest,
      tagAgeMs: null,
      record,
    };
    const { store } = this.#modules;
    const isReachable = record !== undefined && (await this.#isReachable(record, work));
    if (isReachable && (await isLocal(record.config, extent, store))) {
      for (const digest of rawDigests(record.config)) store.touch(digest);
      return record;
    }
    const { record: acquired } = await this.#flights.run(
      `prefix ${manifestDigest}`,
      work.signal,
      async (signal) => {
        const until = work.until(signal);
        if (isReachable && (await restoreFiles(image, record.config, extent, this.#modules, until)))
          return foundHere(record, until);
        const { resolved, imageConfig } = prefix;
        const subject = { image, resolved, imageConfig, earlier: whole, reads: [] };
        const keep = async (parts: SnapshotParts) => this.#keep(image, resolved, imageConfig, parts, until);
        const built = await buildFromLayers(subject, this.#options, this.#modules, until, keep);
        return { record: built, found: 'built' };
      },
    );
    return acquired;
  }

  async push(image: ImageReference, record: SnapshotRecord, work: Work): Promise<void> {
    await pushSnapshot(image, record, this.#modules, work);
    this.#modules.announcer?.announce(record, { isPushed: true });
  }

  async #fetchOrBuild(image: Image, wanted: AcquireOptions, work: Work): Promise<Acquired> {
    const { record: known } = image;
    const { rebuild, extent, onFound } = wanted;
    const restore = async (record: SnapshotRecord) =>
      (await this.#isReachable(record, work)) &&
      (await restoreFiles(image, record.config, extent, this.#modules, work));
    if (known !== undefined && !rebuild && (await restore(known))) {
      return foundHere(known, work);
    }
    let given = await this.#ask(image, image.rootDigest, wanted, work);
    const resolved = given?.resolved ?? (await this.#images.manifest(image, work));
    const platform = formatPlatform(image.platform);
    const same =
      known === undefined && !rebuild ? this.#catalogue.find(resolved.manifestDigest, platform) : undefined;
    if (same !== undefined && (await restore(same))) {
      // Another index, or another name, for the very image that is known here.
      const record = { ...same, rootDigest: resolved.rootDigest, image: image.name };
      this.#catalogue.put(record);
      return foundHere(record, work);
    }
    // Another index, or another name, for an image that the cluster may know.
    if (resolved.manifestDigest !== image.rootDigest)
      given ??= await this.#ask(image, resolved.manifestDigest, wanted, work);
    const imageConfig = given?.imageConfig ?? (await this.#images.config(image, resolved, work));
    requirePlatform(image.name, imageConfig, image.platform);
    const keep = async (parts: SnapshotParts) => this.#keep(image, resolved, imageConfig, parts, work);
    if (given !== undefined) {
      const { learned } = given.found;
      const record = await fetchGiven(
        {
          image,
          resolved,
          extent,
          onFound: (mountable) => {
            this.#modules.learned.given(mountable.config, wanted.startKey, learned);
            onFound?.(mountable);
          },
        },
        given,
        this.#options,
        this.#modules,
        work,
        keep,
      );
      if (record !== undefined) return { record, found: 'cluster' };
    }
    if (this.#options.useRegistry && !rebuild) {
      const { trustedKeys } = this.#options;
      const request = { image, resolved, trustedKeys, extent, onFound };
      const record = await findSnapshot(request, this.#modules, work, keep);
      if (record !== undefined) return this.#announced({ record, found: 'registry' });
    }
    if (wanted.mayBuild === false) throw new DrakkarError('not_found', `${image.name} has no snapshot yet`);
    const earlier = this.#earlier(image, resolved);
    const reads = await lastReads(this.#last(image), this.#modules, work);
    const subject = { image, resolved, imageConfig, earlier, reads };
    const build = (observed: Work) => buildFromLayers(subject, this.#options, this.#modules, observed, keep);
    // Who can't use what the cluster has need not wait for who makes it.
    if (rebuild || given !== undefined) return this.#announced({ record: await build(work), found: 'built' });
    return await this.#buildInTurn(image, resolved, build, wanted, work);
  }

  /** One host of the cluster builds it, and the others have it from there. Where that host gives up, or is gone, the next one builds. */
  async #buildInTurn(
    image: Image,
    resolved: ResolvedImage,
    build: (work: Work) => Promise<SnapshotRecord>,
    wanted: AcquireOptions,
    work: Work,
  ): Promise<Acquired> {
    const { builds, announcer } = this.#modules;
    const sizeBytes = resolved.manifest.layers.reduce((sum, { size }) => sum + size, 0);
    const { reference, platform } = image;
    const name = buildName(reference.registry, resolved.manifestDigest, formatPlatform(platform));
    await using stack = new AsyncDisposableStack();
    const turn = builds && (await this.#turn(image, name, sizeBytes, wanted, builds, stack, work));
    if (turn !== undefined && 'record' in turn) return turn;
    // What is left to do when the last layer has come no number of bytes says: that it gets on, until it ends or is given up, is enough.
    let alive = 0;
    const saying = setInterval(() => {
      alive += 1;
      turn?.asked.reads(Math.floor(sizeBytes * (1 - 1 / (alive + 1))));
    }, ALIVE_MS);
    stack.defer(() => clearInterval(saying));
    const record = await build(work);
    const acquired = this.#announced({ record, found: 'built' as const });
    const kept = stack.move();
    // Who waits for it finds it once the cluster was told.
    void (announcer?.settled() ?? Promise.resolve())
      .then(() => {
        const meaning = { digest: record.config.meta.rawDigest, sizeBytes };
        for (const told of new Set([name, turn?.name ?? name])) builds?.tell(told, meaning);
      })
      .finally(() => kept.disposeAsync());
    return acquired;
  }

  /**
   * Waits until it is this host's turn to build, or another has built it. Where that can't be had any more, all who have waited for it take turns once more.
   */
  async #turn(
    image: Image,
    name: Digest,
    sizeBytes: number,
    wanted: AcquireOptions,
    builds: Pick<Names, 'ask' | 'tell'>,
    stack: AsyncDisposableStack,
    work: Work,
  ): Promise<Turn | Acquired> {
    let turn: Turn = { name, asked: stack.use(builds.ask(name, sizeBytes)) };
    for (let lost = 0; lost < MOST_LOST; lost += 1) {
      const meaning = await turn.asked.meaning(work.signal);
      if (meaning === undefined) return turn;
      try {
        return await this.#fetchOrBuild(image, { ...wanted, mayBuild: false }, work);
      } catch (error) {
        // Who has built it is gone, with what it built.
        if (!isDrakkarError(error, 'not_found')) throw error;
      }
      const next = buildNameAfter(turn.name, meaning.digest);
      turn = { name: next, asked: stack.use(builds.ask(next, sizeBytes)) };
    }
    return turn;
  }

  async #ask(
    image: Image,
    root: Digest,
    { rebuild, startKey }: AcquireOptions,
    work: Work,
  ): Promise<GivenSnapshot | undefined> {
    if (rebuild) return undefined;
    const [given, isGranted] = await Promise.all([
      askCluster(image, root, startKey, this.#modules, work),
      this.#images.isGranted(image, work),
    ]);
    return isGranted ? given : undefined;
  }

  /** Whether what of a snapshot is not here can be had: one that was built is nowhere but on hosts, which may have gone. */
  async #isReachable(
    { origin, config, image, platform, rootDigest }: SnapshotRecord,
    { signal }: Work,
  ): Promise<boolean> {
    const { cluster, store } = this.#modules;
    const has = (digest: Digest) => store.stat(digest)?.complete === true;
    const isHere = (file: VolumeFile) =>
      has(file.rawDigest) || blobsOf(file).every(({ digest }) => has(digest));
    if (origin === 'registry' || config.devices.every(isHere)) return true;
    const question = { repository: parseReference(image), platform, root: rootDigest };
    const layout = await cluster?.layoutOf(question, signal);
    // A supernode that is away does not say, and hosts may be there.
    return layout === config.meta.rawDigest || (layout === undefined && cluster !== undefined);
  }

  #announced(acquired: Acquired): Acquired {
    this.#modules.announcer?.announce(acquired.record);
    return acquired;
  }

  /** The last snapshot of the image's repository, perhaps of the very image. */
  #last(image: Image): SnapshotRecord | undefined {
    const platform = formatPlatform(image.platform);
    return newestOf(this.#catalogue.list(), image.reference, platform, () => true);
  }

  /** The snapshot upon which this one is built. */
  #earlier(image: Image, { manifestDigest }: ResolvedImage): SnapshotRecord | undefined {
    const { buildUponEarlier, blockBytes, trustedKeys, trustCluster } = this.#options;
    if (!buildUponEarlier) return undefined;
    return chooseEarlier(this.#catalogue.list(), {
      repository: image.reference,
      platform: formatPlatform(image.platform),
      manifestDigest,
      blockBytes,
      trustedSigners: new Set(trustedKeys.map(encodePublicKey)),
      trustCluster,
    });
  }

  /** The last step: once the record stands, the snapshot is known. */
  #keep(
    image: Image,
    { manifestDigest, rootDigest, manifest, documents }: ResolvedImage,
    imageConfig: Uint8Array,
    parts: SnapshotParts,
    work: Work,
  ): SnapshotRecord {
    const record: SnapshotRecord = {
      manifestDigest,
      rootDigest,
      image: image.name,
      platform: formatPlatform(image.platform),
      imageConfig,
      imageSizeBytes: manifest.layers.reduce((total, { size }) => total + size, 0),
      createdAtMs: Date.now(),
      documents,
      ...parts,
    };
    this.#catalogue.put(record);
    work.timeline.mark('meta-ready');
    return record;
  }
}

function foundHere(record: SnapshotRecord, { timeline }: Work): Acquired {
  timeline.mark('snapshot-found');
  timeline.mark('meta-ready');
  return { record, found: 'here' };
}
