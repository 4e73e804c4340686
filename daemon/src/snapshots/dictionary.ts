import { type Digest, isDrakkarError, parseReference, type VolumeFile } from '@drakkar/protocol';
import type { DictionarySource } from '@drakkar/snapshotter';
import type { RepositoryName } from '../upstream/index.ts';
import { newestOf, type SnapshotRecord } from './catalogue.ts';
import type { Image } from './images.ts';
import { blobsOf, chunkListOf, type Modules } from './modules.ts';
import type { Work } from './work.ts';

/** What is going to be built. */
export interface EarlierWanted {
  readonly repository: RepositoryName;
  readonly platform: string;
  readonly manifestDigest: Digest;
  readonly blockBytes: number;
  /** Public keys of those whose snapshots are used. */
  readonly trustedSigners: ReadonlySet<string>;
  /** Those that the cluster has given are used, whoever signed them. */
  readonly trustCluster: boolean;
}

/**
 * The snapshot upon which another one is built: the newest of the same repository and platform that is of another image and has a
 * chunk list. Its blocks must have the size of the new ones, since a snapshot has one size of block.
 */
export function chooseEarlier(
  records: readonly SnapshotRecord[],
  wanted: EarlierWanted,
): SnapshotRecord | undefined {
  return newestOf(
    records,
    wanted.repository,
    wanted.platform,
    ({ manifestDigest, config, signer, origin }) =>
      manifestDigest !== wanted.manifestDigest &&
      config.blockBytes === wanted.blockBytes &&
      config.chunks !== undefined &&
      (wanted.trustedSigners.has(signer) || (wanted.trustCluster && origin === 'cluster')),
  );
}

/** A snapshot upon which another one is built. */
export interface Earlier {
  readonly record: SnapshotRecord;
  /** Raw digests of devices that are not to be referred to. */
  readonly leftOut: readonly Digest[];
}

/**
 * An earlier snapshot as the builder reads it. `undefined`, which the log explains, where its chunk list can't be had.
 *
 * @param holder pins the chunk list; the devices are fetched again in the end, if they are evicted meanwhile
 */
export async function openEarlier(
  image: Image,
  { record, leftOut }: Earlier,
  holder: string,
  modules: Modules,
  work: Work,
): Promise<DictionarySource | undefined> {
  const { content, store, log } = modules;
  const { config, manifestDigest } = record;
  const [list] = chunkListOf(config);
  if (config.chunks === undefined || list === undefined) return undefined;
  store.pin(list.digest, holder);
  try {
    await content.fetch({ image: image.reference, ...list }, work.receipt, { signal: work.signal });
    const isWithOthers = await isInCluster(record, modules, work);
    const travels = await Promise.all(
      config.devices.map((device) => isWithOthers || canTravel(image, device, modules, work)),
    );
    return {
      list: config.chunks,
      listPath: store.pathOf(list.digest),
      devices: config.devices,
      usable: config.devices.flatMap(({ rawDigest }, slot) =>
        travels[slot] === true && !leftOut.includes(rawDigest) ? [slot] : [],
      ),
    };
  } catch (error) {
    work.signal.throwIfAborted();
    log.warn({ image: image.name, earlier: manifestDigest, error }, 'an earlier snapshot is not built upon');
    return undefined;
  }
}

/** Whether hosts of the cluster have all of it. */
async function isInCluster(
  { image, platform, rootDigest: root, config }: SnapshotRecord,
  { cluster }: Modules,
  work: Work,
): Promise<boolean> {
  const question = { repository: parseReference(image), platform, root };
  return (await cluster?.layoutOf(question, work.signal)) === config.meta.rawDigest;
}

/** Whether a device's blobs are here, or its registry has them: else nobody could be given a snapshot that refers to it. */
async function canTravel(
  image: Image,
  device: VolumeFile,
  { store, registry }: Modules,
  work: Work,
): Promise<boolean> {
  const blobs = blobsOf(device).map(({ digest }) => digest);
  await store.verify(blobs);
  try {
    for (const digest of blobs) {
      if (!store.has(digest)) await registry.headBlob(image.reference, digest, work);
    }
    return true;
  } catch (error) {
    work.signal.throwIfAborted();
    if (!isDrakkarError(error)) throw error;
    return false;
  }
}
