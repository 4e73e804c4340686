import type { KeyObject } from 'node:crypto';
import {
  DrakkarError,
  encodePublicKey,
  isDrakkarError,
  parseImageConfig,
  type VolumeFile,
} from '@drakkar/protocol';
import {
  type BuildLimits,
  type BuildResult,
  buildSnapshot,
  composeArtifact,
  type DictionarySource,
} from '@drakkar/snapshotter';
import type { ResolvedImage } from '../upstream/index.ts';
import type { SnapshotRecord } from './catalogue.ts';
import { openEarlier } from './dictionary.ts';
import { fetchFiles } from './found.ts';
import type { Image } from './images.ts';
import { LayerSource } from './layer-source.ts';
import type { Modules, SnapshotParts } from './modules.ts';
import { type Staging, staged } from './staging.ts';
import type { Work } from './work.ts';

export interface BuildOptions {
  readonly blockBytes: number;
  readonly limits: Partial<BuildLimits>;
  readonly stallTimeoutMs: number;
  /** Signs what is built. */
  readonly builderKey: KeyObject;
}

/** An image whose snapshot is to be built. */
export interface BuildSubject {
  readonly image: Image;
  readonly resolved: ResolvedImage;
  readonly imageConfig: Uint8Array;
  /** A snapshot whose devices may be referred to. */
  readonly earlier: SnapshotRecord | undefined;
}

/** A build upon an earlier snapshot can't be ended; without that it can. */
class EarlierFailed extends Error {}

/**
 * Builds the snapshot of an image while its layers arrive; upon an earlier one where that goes, and else without it.
 *
 * @param keep called while the files are still pinned
 */
export async function buildFromLayers<Kept>(
  subject: BuildSubject,
  options: BuildOptions,
  modules: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept> {
  const { image, resolved, earlier } = subject;
  const layers = new LayerSource(image, resolved, modules.content, work.receipt);
  try {
    return await buildOnce(subject, layers, options, modules, work, keep);
  } catch (error) {
    if (!(error instanceof EarlierFailed)) throw error;
    const context = { image: image.name, earlier: earlier?.manifestDigest, error: error.cause };
    modules.log.warn(context, 'the snapshot is built again, without an earlier one');
    return await buildOnce({ ...subject, earlier: undefined }, layers, options, modules, work, keep);
  } finally {
    layers.addReceipts(work.receipt);
  }
}

function buildOnce<Kept>(
  subject: BuildSubject,
  layers: LayerSource,
  options: BuildOptions,
  modules: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept> {
  const { image, resolved, earlier } = subject;
  return staged(modules.store, async (staging) => {
    const dictionary =
      earlier === undefined ? undefined : await openEarlier(image, earlier, staging.holder, modules, work);
    const { config } = await runBuilder(subject, dictionary, layers, options, modules, staging, work);
    await completeFiles(subject, config.devices, staging, modules, work);
    const { mediaType, manifestDigest, manifestBytes } = resolved;
    const { artifact, envelope } = composeArtifact({
      config,
      subject: { mediaType, digest: manifestDigest, size: manifestBytes.length },
      key: options.builderKey,
    });
    work.timeline.mark('snapshot-built');
    const signer = encodePublicKey(options.builderKey);
    return await keep({ config, envelope, artifact, signer, origin: 'built' });
  });
}

/** Runs the builder, and takes what it made into the store. */
async function runBuilder(
  { image, resolved, imageConfig }: BuildSubject,
  dictionary: DictionarySource | undefined,
  layers: LayerSource,
  options: BuildOptions,
  { store, log }: Modules,
  { directory, reservation, holder }: Staging,
  work: Work,
): Promise<BuildResult> {
  const { rootfs, created } = parseImageConfig(imageConfig);
  const ahead = new AbortController();
  const signal = AbortSignal.any([work.signal, ahead.signal]);
  const downloads = layers.downloadAhead(signal);
  try {
    const built = await buildSnapshot(
      {
        image: image.name,
        manifestDigest: resolved.manifestDigest,
        layers: resolved.manifest.layers.map(({ digest, size }) => ({ digest, sizeBytes: size })),
        diffIds: rootfs.diff_ids ?? [],
        createdSeconds: secondsOf(created),
        outputDir: directory,
        blockBytes: options.blockBytes,
        limits: options.limits,
        stallTimeoutMs: options.stallTimeoutMs,
        ...(dictionary === undefined ? {} : { dictionary }),
      },
      {
        openLayer: (index, call) => layers.read(index, AbortSignal.any([signal, call.signal])),
        reserve: async (bytes) => reservation.grow(bytes),
        onProgress: ({ compressedBytes }) => work.progress('build', compressedBytes, layers.sizeBytes),
      },
      { signal: work.signal },
    );
    if (built.dictionaryFailure !== null) {
      const context = { image: image.name, error: DrakkarError.fromJSON(built.dictionaryFailure) };
      log.warn(context, 'an earlier snapshot is not built upon');
    }
    for (const file of built.files) {
      await store.adopt(file.path, file.digest, file.sizeBytes, file.kind, reservation, holder);
    }
    return built;
  } catch (error) {
    // Bytes that the registry has damaged may look like a damaged archive: its own word comes first.
    if (isDrakkarError(error, 'invalid_content')) await layers.requireDigests(image.name, work.signal);
    throw error;
  } finally {
    ahead.abort();
    await downloads;
  }
}

/** Brings those devices of the earlier snapshot that are not here; what was made just now is. */
async function completeFiles(
  { image }: BuildSubject,
  devices: readonly VolumeFile[],
  staging: Staging,
  modules: Modules,
  work: Work,
): Promise<void> {
  try {
    await fetchFiles(image, devices, staging, modules, work, () => {});
  } catch (cause) {
    work.signal.throwIfAborted();
    throw new EarlierFailed('a device of an earlier snapshot can’t be had', { cause });
  }
}

/** Seconds since 1970 of an RFC 3339 time; 0 where it is none, so that a build never depends on the clock. */
function secondsOf(created: string | null | undefined): number {
  const ms = created ? Date.parse(created) : Number.NaN;
  return Number.isFinite(ms) && ms > 0 ? Math.floor(ms / 1000) : 0;
}
