import { DrakkarError } from '@drakkar/errors';
import { type Digest, parseDigest } from './digest.ts';

/**
 * An image reference, normalised the way containerd and Docker do it: `debian` is
 * `docker.io/library/debian:latest`.
 * Source: distribution/reference grammar.
 */
export interface ImageReference {
  /** Registry as named by people and by containerd's `ns=`: `docker.io`, `ghcr.io`, `127.0.0.1:5000`. */
  readonly registry: string;
  /** Path below the registry: `library/debian`. */
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

const DEFAULT_REGISTRY = 'docker.io';
const DEFAULT_TAG = 'latest';
const MAX_REPOSITORY_LENGTH = 255;

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const REGISTRY =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;

export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

const MAX_PORT = 65_535;

/** A registry host, with an optional port. */
export function isRegistry(text: string): boolean {
  if (text.length > MAX_REPOSITORY_LENGTH || !REGISTRY.test(text)) return false;
  const port = /:(\d+)$/.exec(text)?.[1];
  return port === undefined || (Number(port) > 0 && Number(port) <= MAX_PORT);
}

/** @throws `invalid_argument` with the reason. */
export function parseReference(text: string): ImageReference {
  const refuse = (why: string): never => {
    throw new DrakkarError(
      'invalid_argument',
      `image reference ${JSON.stringify(text.slice(0, 300))} ${why}`,
      {
        hint: 'write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:…]',
      },
    );
  };
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    digest = parseDigest(rest.slice(at + 1), 'digest in the image reference');
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!isTag(tag)) refuse('has an invalid tag');
  }
  const slash = rest.indexOf('/');
  const first = slash < 0 ? '' : rest.slice(0, slash);
  const named = first === 'localhost' || /[.:[]/.test(first) || first !== first.toLowerCase();
  let registry = named ? first : DEFAULT_REGISTRY;
  if (registry === 'index.docker.io' || registry === 'registry-1.docker.io') registry = DEFAULT_REGISTRY;
  let repository = named ? rest.slice(slash + 1) : rest;
  if (registry === DEFAULT_REGISTRY && !repository.includes('/')) repository = `library/${repository}`;
  if (!isRegistry(registry)) refuse('has an invalid registry');
  if (!isRepository(repository)) refuse('has an invalid repository');
  return { registry, repository, tag: tag ?? (digest ? undefined : DEFAULT_TAG), digest };
}

/** The canonical text; a reference that is parsed from it is the same reference. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

/** A repository of a registry. */
export type Repository = Pick<ImageReference, 'registry' | 'repository'>;

/** The canonical text: `registry/repository`. */
export function formatRepository({ registry, repository }: Repository): string {
  return `${registry}/${repository}`;
}

/** @throws `invalid_argument` for anything but the canonical text */
export function parseRepository(text: string): Repository {
  const { registry, repository } = parseReference(text);
  if (formatRepository({ registry, repository }) === text) return { registry, repository };
  throw new DrakkarError(
    'invalid_argument',
    `${JSON.stringify(text.slice(0, 300))} is not the name of a repository`,
  );
}
