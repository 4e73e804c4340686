/**
 * The clients of upstream registries and web servers: authentication, redirects, proxies, retries, resumed transfers, verified
 * documents.
 *
 * @example
 * ```ts
 * using client = createRegistryClient({ dockerConfigFile: '/home/me/.docker/config.json' });
 * const image = await client.resolveImage(parseReference('debian:12'), hostPlatform());
 * for (const layer of image.manifest.layers) {
 *   const blob = await client.openBlob(image.reference, layer.digest);
 *   for await (const chunk of blob.chunks) …
 * }
 * ```
 */
export { type Caller, OWN } from './authentication.ts';
export { isAway } from './away.ts';

export { createRegistryClient, type RegistryClient } from './client.ts';
export { FILE_RULES, type FileRules, parseUrlPattern, withoutQuery } from './file-rules.ts';
export { createFileClient, type FileClient, type FileHead, type FileVersion, validatorOf } from './files.ts';
export { findImage, type ResolvedImage } from './images.ts';
export {
  type FetchedManifest,
  type ManifestName,
  manifestNameOf,
  type ResolvedManifest,
} from './manifests.ts';
export {
  completeUpstreamOptions,
  UPSTREAM_DEFAULTS,
  type UpstreamOptions,
} from './options.ts';
export type { BlobSource, PushedManifest, PushOptions } from './push.ts';
export type { BlobRange, BlobStream } from './ranged.ts';
export type { CallOptions, RepositoryName } from './session.ts';
