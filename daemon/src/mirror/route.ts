import { type Digest, isDigest, isRegistry, isRepository, isTag } from '@drakkar/protocol';
import type { RepositoryName } from '../upstream/index.ts';

/** What a request asks for. */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'tag'; readonly image: RepositoryName; readonly tag: string }
  | { readonly kind: 'manifest' | 'blob'; readonly image: RepositoryName; readonly digest: Digest };

/** `undefined` for everything that the mirror does not serve. `ns` names the registry, as containerd sends it. */
export function parseRoute(target: string, defaultRegistry: string): Route | undefined {
  if (!URL.canParse(target, 'http://mirror')) return undefined;
  const { pathname, searchParams } = new URL(target, 'http://mirror');
  if (pathname === '/v2' || pathname === '/v2/') return { kind: 'base' };
  const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname);
  const [, repository = '', collection, encoded = ''] = match ?? [];
  const registry = registryOf(searchParams.get('ns') ?? defaultRegistry);
  const reference = encoded.replaceAll('%3A', ':').replaceAll('%3a', ':');
  if (match === null || !isRegistry(registry) || !isRepository(repository)) return undefined;
  const image = { registry, repository };
  if (isDigest(reference)) {
    return { kind: collection === 'blobs' ? 'blob' : 'manifest', image, digest: reference };
  }
  return collection === 'manifests' && isTag(reference) ? { kind: 'tag', image, tag: reference } : undefined;
}

function registryOf(namespace: string): string {
  return namespace === 'registry-1.docker.io' || namespace === 'index.docker.io' ? 'docker.io' : namespace;
}
