import {
  type Digest,
  DrakkarError,
  formatPlatform,
  formatReference,
  hostPlatform,
  type ImageReference,
  OCI_LIMITS,
  type Platform,
  parseImageConfig,
  parsePlatform,
  parseReference,
} from '@drakkar/protocol';
import { isAway, type ResolvedImage } from '../upstream/index.ts';
import type { Catalogue, SnapshotRecord } from './catalogue.ts';
import type { Log, Registry, Store } from './modules.ts';
import type { Work } from './work.ts';

/** An image by its name, and what that name means now. */
export interface Image {
  readonly reference: ImageReference;
  /** Canonical text of the reference. */
  readonly name: string;
  readonly platform: Platform;
  /** What the name points to: an index or a manifest. */
  readonly rootDigest: Digest;
  /** How old the answer is to what the tag means, where the registry is away; `null` where nothing stale was needed. */
  readonly tagAgeMs: number | null;
  /** What is known of it here. */
  readonly record: SnapshotRecord | undefined;
}

export interface ImagesOptions {
  /** How old the last known meaning of a tag may be while its registry is away. */
  readonly tagMaxAgeMs: number;
}

type Meaning = Pick<Image, 'tagAgeMs'> & { readonly digest: Digest };

/** Whoever has an answer that is good enough does not wait long for a better one. */
const TRIES_WITH_ANSWER = 2;

/** Finds out what an image's name means, with the registry and without. */
export class Images {
  readonly #options: ImagesOptions;
  readonly #registry: Pick<Registry, 'resolve' | 'resolveImage' | 'fetchBlob'>;
  readonly #catalogue: Catalogue;
  readonly #store: Pick<Store, 'findTag' | 'putTag'>;
  readonly #log: Log;

  constructor(
    options: ImagesOptions,
    modules: {
      registry: Pick<Registry, 'resolve' | 'resolveImage' | 'fetchBlob'>;
      catalogue: Catalogue;
      store: Pick<Store, 'findTag' | 'putTag'>;
      log: Log;
    },
  ) {
    this.#options = options;
    this.#registry = modules.registry;
    this.#catalogue = modules.catalogue;
    this.#store = modules.store;
    this.#log = modules.log;
  }

  async resolve(text: string, platformText: string | undefined, work: Work): Promise<Image> {
    const reference = parseReference(text);
    const platform = platformText === undefined ? hostPlatform() : parsePlatform(platformText);
    const name = formatReference(reference);
    const { digest, tagAgeMs } =
      reference.digest === undefined
        ? await this.#meaning(reference, name, work)
        : { digest: reference.digest, tagAgeMs: null };
    const record = this.#catalogue.find(digest, formatPlatform(platform));
    return { reference, name, platform, rootDigest: digest, tagAgeMs, record };
  }

  /**
   * All that a name may have meant to whoever has brought something of it here: what its digest says, what its tag was last known to point to, and what it points to
   * now. For who takes something away, and needs no registry for it.
   *
   * @throws what the registry says where nothing is known without it
   */
  async meanings(text: string, platformText: string | undefined, { signal }: Work): Promise<Image[]> {
    const reference = parseReference(text);
    const platform = platformText === undefined ? hostPlatform() : parsePlatform(platformText);
    const { registry, repository, tag, digest } = reference;
    const last = tag === undefined ? undefined : this.#store.findTag(registry, repository, tag);
    const roots = new Set([digest, last?.digest].filter((root) => root !== undefined));
    if (tag !== undefined) {
      const isKnown = roots.size > 0;
      try {
        const now = await this.#registry.resolve(reference, tag, { signal, tries: isKnown ? 1 : undefined });
        roots.add(now.digest);
      } catch (error) {
        signal.throwIfAborted();
        if (!isKnown) throw error;
        this.#log.warn(
          { image: text, error },
          'the registry does not say what a tag means: what is known is used',
        );
      }
    }
    const name = formatReference({ ...reference, digest: tag === undefined ? digest : undefined });
    return [...roots].map((rootDigest) => {
      const record = this.#catalogue.find(rootDigest, formatPlatform(platform));
      return { reference, name, platform, rootDigest, tagAgeMs: null, record };
    });
  }

  /** Whether its registry would give this host the image: who has it already must not decide that. */
  async isGranted({ reference }: Image, { signal }: Work): Promise<boolean> {
    // A tag has been asked for, or was not long ago.
    if (reference.digest === undefined) return true;
    try {
      await this.#registry.resolve(reference, reference.digest, { signal });
      return true;
    } catch {
      // Whoever asks it for the manifest hears why.
      signal.throwIfAborted();
      return false;
    }
  }

  /** The manifest itself, which a snapshot that has to be fetched or built starts from. */
  manifest(image: Image, work: Work): Promise<ResolvedImage> {
    const reference = { ...image.reference, digest: image.rootDigest };
    return this.#registry.resolveImage(reference, image.platform, { signal: work.signal });
  }

  /** The image's config, which says how to run it and what its layers are. */
  async config(image: Image, { manifest }: ResolvedImage, work: Work): Promise<Uint8Array> {
    const { digest } = manifest.config;
    const bytes = await this.#registry.fetchBlob(image.reference, digest, OCI_LIMITS.configBytes, work);
    work.receipt.fromUpstream(bytes.length);
    return bytes;
  }

  /** What a tag points to; where the registry is away, what it pointed to when it was last asked. */
  async #meaning(reference: ImageReference, name: string, { signal }: Work): Promise<Meaning> {
    const { registry, repository, tag = 'latest' } = reference;
    const last = this.#store.findTag(registry, repository, tag);
    const tagAgeMs = last === undefined ? Number.POSITIVE_INFINITY : Date.now() - last.resolvedAtMs;
    const isGood = tagAgeMs <= this.#options.tagMaxAgeMs;
    try {
      const { digest, mediaType, sizeBytes } = await this.#registry.resolve(reference, tag, {
        signal,
        tries: isGood ? TRIES_WITH_ANSWER : undefined,
      });
      this.#store.putTag(registry, repository, tag, {
        digest,
        mediaType,
        sizeBytes,
        resolvedAtMs: Date.now(),
      });
      return { digest, tagAgeMs: null };
    } catch (error) {
      if (last === undefined || !isGood || !isAway(error)) throw error;
      const { digest } = last;
      this.#log.warn(
        { image: name, digest, tagAgeMs },
        'the registry is away: the last known digest is used',
      );
      return { digest, tagAgeMs };
    }
  }
}

/**
 * An index offers platforms; a manifest alone is what it is, and only its config says for what.
 *
 * @throws `not_found` where that is another platform
 */
export function requirePlatform(name: string, imageConfig: Uint8Array, wanted: Platform): void {
  const { os, architecture } = parseImageConfig(imageConfig);
  if (os === wanted.os && architecture === wanted.architecture) return;
  throw new DrakkarError(
    'not_found',
    `${name} is for ${os}/${architecture}, not for ${formatPlatform(wanted)}`,
    {
      hint: 'name the platform that it is for with --platform, or another image',
    },
  );
}
