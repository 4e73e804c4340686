import type { RegistryClient } from '../upstream/index.ts';
import type { BlobRequest, BlobSource, RegistryBlobRequest } from './contract.ts';

/** Where a request's blob is had upstream. */
export function sourceOf(request: BlobRequest, client: RegistryClient): BlobSource {
  return 'source' in request ? request.source : registrySource(request, client);
}

/** As {@link sourceOf}, of what only names the registry. */
export function originOf(request: BlobRequest): string {
  return 'source' in request ? request.source.origin : request.image.registry;
}

function registrySource({ image, digest, caller }: RegistryBlobRequest, client: RegistryClient): BlobSource {
  const { registry, repository } = image;
  return {
    origin: registry,
    kind: 'registry',
    what: `${registry}/${repository}: blob ${digest}`,
    key: `${repository} ${String(caller)}`,
    size: (signal) => client.headBlob(image, digest, { signal, caller }),
    open: (range, signal) => client.openBlob(image, digest, range, { signal, caller }),
  };
}
