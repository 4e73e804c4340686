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
  type FileRange,
} from '@drakkar/snapshotter';
import type { ResolvedImage } from '../upstream/index.ts';
import type { SnapshotRecord } from './catalogue.ts';
import { type Earlier, openEarlier } from './dictionary.ts';
import { fetchFiles } from './files.ts';
import type { Image } from './images.ts';
import { LayerSource } from './layer-source.ts';
import type { Modules, SnapshotParts } from './modules.ts';
import { adoptAll, type Staging, staged } from './staging.ts';
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
  /** What starts will read, in that order. */
  readonly reads: readonly FileRange[];
}

/** A build has to be done again, upon less of an earlier snapshot or upon none. */
class BuildAgain extends Error {
  readonly upon: Earlier | undefined;

  constructor(upon: Earlier | undefined) {
    super('the snapshot has to be built again');
    this.upon = upon;
  }
}

/**
 * Builds the snapshot of an image while its layers arrive; upon an earlier one as far as that is of use.
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
  let upon: Earlier | undefined = earlier && { record: earlier, leftOut: [] };
  try {
    // It ends: each time less of the earlier snapshot is left.
    for (;;) {
      try {
        return await buildOnce(subject, upon, layers, options, modules, work, keep);
      } catch (error) {
        if (!(error instanceof BuildAgain)) throw error;
        upon = error.upon;
      }
    }
  } finally {
    layers.addReceipts(work.receipt);
  }
}

function buildOnce<Kept>(
  subject: BuildSubject,
  upon: Earlier | undefined,
  layers: LayerSource,
  options: BuildOptions,
  modules: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept> {
  const { image, resolved } = subject;
  return staged(modules.store, async (staging) => {
    const dictionary =
      upon === undefined ? undefined : await openEarlier(image, upon, staging.holder, modules, work);
    const built = await runBuilder(subject, dictionary, layers, options, modules, staging, work);
    if (upon !== undefined && built.hardlyUsed.length > 0) {
      const leftOut = [...upon.leftOut, ...built.hardlyUsed];
      modules.log.info({ image: image.name, leftOut }, 'built again without devices that it hardly uses');
      throw new BuildAgain({ ...upon, leftOut });
    }
    await adoptAll(modules.store, built.files, staging);
    const { config } = built;
    await completeDevices(image, config.devices, staging, modules, work);
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

async function runBuilder(
  { image, resolved, imageConfig, reads }: BuildSubject,
  dictionary: DictionarySource | undefined,
  layers: LayerSource,
  options: BuildOptions,
  { log }: Modules,
  { directory, reservation }: Staging,
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
        ...(reads.length === 0 ? {} : { reads }),
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

/** Brings those devices of an earlier snapshot that are not here; what was made just now is. */
async function completeDevices(
  image: Image,
  devices: readonly VolumeFile[],
  staging: Staging,
  modules: Modules,
  work: Work,
): Promise<void> {
  try {
    await fetchFiles(devices, { image, source: 'registry', staging, onBytes: () => {} }, modules, work);
  } catch (error) {
    work.signal.throwIfAborted();
    modules.log.warn(
      { image: image.name, error },
      'built again without an earlier snapshot, of which a device is lost',
    );
    throw new BuildAgain(undefined);
  }
}

/** Seconds since 1970 of an RFC 3339 time; 0 where it is none, so that a build never depends on the clock. */
function secondsOf(created: string | null | undefined): number {
  const ms = created ? Date.parse(created) : Number.NaN;
  return Number.isFinite(ms) && ms > 0 ? Math.floor(ms / 1000) : 0;
}
