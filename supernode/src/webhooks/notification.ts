import {
  type Digest,
  formatRepository,
  type ImageReference,
  isDigest,
  isDrakkarError,
  isRegistry,
  isRepository,
  isTag,
  parseReference,
} from '@drakkar/protocol';

/** Something that a registry has now. It has a tag, a digest, or both. */
export interface Pushed {
  /** As references name it: `docker.io`, `ghcr.io`, `registry.example.com:5000`. */
  readonly registry: string;
  readonly repository: string;
  /** `null` where it was pushed under its digest alone. */
  readonly tag: string | null;
  /** `null` where the sender does not say it. */
  readonly digest: Digest | null;
}

/** The same, in the sender's words. */
export interface RawPush {
  readonly registry?: string | null | undefined;
  readonly repository?: string | null | undefined;
  readonly tag?: string | null | undefined;
  readonly digest?: string | null | undefined;
}

/** What was pushed, or nothing where nobody could fetch what this names: no registry or repository, neither a tag nor a digest. */
export function pushedOf(raw: RawPush): Pushed | undefined {
  const registry = raw.registry == null ? undefined : canonicalRegistry(raw.registry);
  if (registry === undefined || raw.repository == null || !isRepository(raw.repository)) return undefined;
  const named = readReference(`${registry}/${raw.repository}`);
  const tag = raw.tag != null && isTag(raw.tag) ? raw.tag : null;
  const digest = isDigest(raw.digest) ? raw.digest : null;
  if (named === undefined || (tag === null && digest === null)) return undefined;
  return { registry, repository: named.repository, tag, digest };
}

/** What a person has written as the image's reference, or nothing where it is none. */
export function pushedByReference(text: string): Pushed | undefined {
  const reference = readReference(text);
  if (reference === undefined) return undefined;
  const { registry, repository, tag = null, digest = null } = reference;
  return { registry, repository, tag, digest };
}

/** The name that references have for a registry; nothing where they have none, as for a host without a dot or a port. */
export function canonicalRegistry(host: string): string | undefined {
  if (!isRegistry(host)) return undefined;
  const reference = readReference(`${host}/any/image`);
  return reference?.repository === 'any/image' ? reference.registry : undefined;
}

function readReference(text: string): ImageReference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (isDrakkarError(error, 'invalid_argument')) return undefined;
    throw error;
  }
}

/** In their order, without those that say no more than another one: the same twice, or less of the same. */
export function merge(pushes: readonly Pushed[]): Pushed[] {
  const distinct = [...new Map(pushes.map((push) => [nameOf(push), push])).values()];
  return distinct.filter((push) => !distinct.some((other) => other !== push && saysAll(other, push)));
}

const nameOf = (push: Pushed): string => `${formatRepository(push)}:${push.tag ?? ''}@${push.digest ?? ''}`;

const saysAll = (more: Pushed, less: Pushed): boolean =>
  more.registry === less.registry &&
  more.repository === less.repository &&
  (less.tag === null || less.tag === more.tag) &&
  (less.digest === null || less.digest === more.digest);
