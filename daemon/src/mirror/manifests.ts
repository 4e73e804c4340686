import type { Digest } from '@drakkar/protocol';
import type { Store } from '../store/index.ts';
import { storedManifest } from '../stored-manifest.ts';
import {
  type Caller,
  type FetchedManifest,
  isAway,
  type RegistryClient,
  type RepositoryName,
  type ResolvedManifest,
} from '../upstream/index.ts';
import type { MirrorOptions } from './options.ts';
import type { Verdicts } from './verdicts.ts';

export interface ManifestModules {
  readonly client: RegistryClient;
  readonly store: Store;
  readonly verdicts: Verdicts;
  readonly now: () => number;
}

interface ManifestWanted {
  readonly image: RepositoryName;
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

/** Manifests by tag and by digest, for callers who may have them; with upstream away, what is known and still good. */
export class ManifestService {
  readonly #options: MirrorOptions;
  readonly #modules: ManifestModules;

  constructor(options: MirrorOptions, modules: ManifestModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** @throws what the registry answered; `unavailable` | `timeout` when it is away and nothing known is good enough */
  async resolveTag(tag: string, wanted: ManifestWanted): Promise<ResolvedManifest> {
    const { client, store, verdicts, now } = this.#modules;
    const { image, caller } = wanted;
    const known = store.findTag(image.registry, image.repository, tag);
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : now() - known.resolvedAtMs;
    if (known !== undefined && ageMs <= this.#options.tagTtlMs) {
      if (verdicts.isFresh({ caller, image, digest: known.digest })) return known;
    }
    try {
      const resolved = await client.resolve(image, tag, this.#call(wanted));
      const { digest, mediaType, sizeBytes } = resolved;
      verdicts.allow({ caller, image, digest });
      store.putTag(image.registry, image.repository, tag, {
        digest,
        mediaType,
        sizeBytes,
        resolvedAtMs: now(),
      });
      return { digest, mediaType, sizeBytes };
    } catch (error) {
      if (known === undefined) throw error;
      const forgiven = verdicts.forgives({ caller, image, digest: known.digest }, error);
      if (forgiven && isAway(error) && ageMs <= this.#options.tagMaxAgeMs) return known;
      throw error;
    }
  }

  async describe(digest: Digest, wanted: ManifestWanted): Promise<ResolvedManifest> {
    const stored = await storedManifest(this.#modules.store, digest, wanted.image.registry);
    if (stored !== undefined) {
      await this.#authorize(digest, wanted);
      return stored;
    }
    const resolved = await this.#modules.client.resolve(wanted.image, digest, this.#call(wanted));
    this.#modules.verdicts.allow({ ...wanted, digest });
    return resolved;
  }

  async fetch(digest: Digest, wanted: ManifestWanted): Promise<FetchedManifest> {
    const { client, store, verdicts } = this.#modules;
    const stored = await storedManifest(store, digest, wanted.image.registry);
    if (stored !== undefined) {
      await this.#authorize(digest, wanted);
      return stored;
    }
    const fetched = await client.fetchManifest(wanted.image, digest, this.#call(wanted));
    verdicts.allow({ ...wanted, digest });
    await store.put(fetched.bytes, fetched.mediaType, wanted.image.registry);
    return fetched;
  }

  async #authorize(digest: Digest, wanted: ManifestWanted): Promise<void> {
    const { client, verdicts } = this.#modules;
    await verdicts.check({ ...wanted, digest }, () =>
      client.resolve(wanted.image, digest, this.#call(wanted)),
    );
  }

  #call({ caller, signal }: ManifestWanted) {
    return { caller, signal, tries: this.#options.upstreamTries };
  }
}
