import {
  type Digest,
  DrakkarError,
  digestOf,
  formatPlatform,
  formatReference,
  hostPlatform,
  type ImageConfig,
  type ImageReference,
  isDrakkarError,
  type Manifest,
  OCI_LIMITS,
  type Platform,
  parseImageConfig,
  parsePlatform,
  parseReference,
} from '@drakkar/protocol';
import type { Catalogue, SnapshotRecord } from './catalogue.ts';
import type { Content, Log, Registry, ResolvedImage } from './modules.ts';
import type { Work } from './work.ts';

/** An image by its name, and what that name means now. */
export interface Image {
  readonly reference: ImageReference;
  /** Canonical text of the reference. */
  readonly name: string;
  readonly platform: Platform;
  readonly manifestDigest: Digest;
  /** What is known here, where the manifest is known here. */
  readonly record: SnapshotRecord | undefined;
  /** Absent where the registry was not asked, or is away: then there is a record. */
  readonly resolved: ResolvedImage | undefined;
}

export interface ImagesOptions {
  /** How old the last known meaning of a tag may be while its registry is away. */
  readonly tagMaxAgeMs: number;
}

/** Finds out what an image's name means, with the registry and without. */
export class Images {
  readonly #options: ImagesOptions;
  readonly #registry: Registry;
  readonly #content: Content;
  readonly #catalogue: Catalogue;
  readonly #log: Log;

  constructor(
    options: ImagesOptions,
    modules: { registry: Registry; content: Content; catalogue: Catalogue; log: Log },
  ) {
    this.#options = options;
    this.#registry = modules.registry;
    this.#content = modules.content;
    this.#catalogue = modules.catalogue;
    this.#log = modules.log;
  }

  async resolve(text: string, platformText: string | undefined, work: Work): Promise<Image> {
    const reference = parseReference(text);
    const platform = platformText === undefined ? hostPlatform() : parsePlatform(platformText);
    const name = formatReference(reference);
    const pinned = reference.digest === undefined ? undefined : this.#catalogue.get(reference.digest);
    if (pinned !== undefined) {
      return {
        reference,
        name,
        platform,
        manifestDigest: pinned.manifestDigest,
        record: pinned,
        resolved: undefined,
      };
    }
    try {
      const resolved = await this.#registry.resolveImage(reference, platform, { signal: work.signal });
      const { manifestDigest } = resolved;
      return {
        reference,
        name,
        platform,
        manifestDigest,
        record: this.#catalogue.get(manifestDigest),
        resolved,
      };
    } catch (error) {
      const away = isDrakkarError(error, 'unavailable') || isDrakkarError(error, 'timeout');
      const record = away ? this.#lastKnown(name, platform) : undefined;
      if (record === undefined) throw error;
      const ageMs = Date.now() - record.createdAtMs;
      this.#log.warn(
        { image: name, digest: record.manifestDigest, ageMs },
        'registry away: last known digest used',
      );
      return {
        reference,
        name,
        platform,
        manifestDigest: record.manifestDigest,
        record,
        resolved: undefined,
      };
    }
  }

  #lastKnown(name: string, platform: Platform): SnapshotRecord | undefined {
    const record = this.#catalogue.latest(name, formatPlatform(platform));
    const isYoung = record !== undefined && Date.now() - record.createdAtMs <= this.#options.tagMaxAgeMs;
    return isYoung ? record : undefined;
  }

  /** The manifest itself, which a snapshot that has to be fetched or built starts from. */
  async manifest(image: Image, work: Work): Promise<ResolvedImage> {
    if (image.resolved !== undefined) return image.resolved;
    const digest = image.manifestDigest;
    return this.#registry.resolveImage({ ...image.reference, digest }, image.platform, {
      signal: work.signal,
    });
  }

  /** The image's config, which says how to run it and what its layers are. */
  async config(
    image: Image,
    manifest: Manifest,
    work: Work,
  ): Promise<{ bytes: Uint8Array; config: ImageConfig }> {
    const { digest, size } = manifest.config;
    if (size > OCI_LIMITS.configBytes) {
      throw new DrakkarError('limit_exceeded', `the config of ${image.name} says it has ${size} bytes`, {
        hint: `an image config may have ${OCI_LIMITS.configBytes}`,
      });
    }
    const request = { image: image.reference, digest, sizeBytes: size };
    const parts: Uint8Array[] = [];
    for await (const part of this.#content.read(request, work.receipt, { signal: work.signal }))
      parts.push(part);
    const bytes = Buffer.concat(parts);
    if (digestOf(bytes) !== digest) {
      throw new DrakkarError('invalid_content', `the config of ${image.name} does not match its digest`);
    }
    return { bytes, config: parseImageConfig(bytes) };
  }
}
