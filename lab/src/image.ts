import { createReadStream } from 'node:fs';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Digest, digestOf, errnoOf, MEDIA_TYPES } from '@drakkar/protocol';

export type LayerCompression = 'none' | 'gzip' | 'gzip-members' | 'zstd';

/** A blob in memory, or in a file that stays as it is. */
export interface ImageBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string;
  readonly content: Uint8Array | { readonly path: string };
}

export interface ImageLayer extends ImageBlob {
  /** Digest of the uncompressed archive. */
  readonly diffId: Digest;
}

export interface ImageOptions {
  readonly layers: readonly ImageLayer[];
  /** Default `oci`. */
  readonly schema?: 'oci' | 'docker';
  /** Merged into the image's config: `{ config: { Entrypoint: […] }, created: … }`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Default: this machine's, as Go names it. */
  readonly architecture?: string;
}

export interface Image {
  readonly manifest: ImageBlob;
  readonly config: ImageBlob;
  readonly layers: readonly ImageLayer[];
}

export interface ImageIndex {
  readonly index: ImageBlob;
  readonly images: readonly Image[];
}

/** The creation time of images that name none: 2020-09-13T12:26:40Z. */
export const IMAGE_CREATED = '2020-09-13T12:26:40Z';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export function blobOf(content: Uint8Array, mediaType: string): ImageBlob {
  return { digest: digestOf(content), sizeBytes: content.length, mediaType, content };
}

/** `mediaType` may lie about the compression: readers must go by the bytes. */
export function layerOf(
  tar: Uint8Array,
  options: { readonly compression?: LayerCompression; readonly mediaType?: string } = {},
): ImageLayer {
  const compression = options.compression ?? 'gzip';
  const content = compress(tar, compression);
  const own = {
    none: MEDIA_TYPES.ociLayer,
    gzip: MEDIA_TYPES.ociLayerGzip,
    'gzip-members': MEDIA_TYPES.ociLayerGzip,
    zstd: MEDIA_TYPES.ociLayerZstd,
  };
  return { ...blobOf(content, options.mediaType ?? own[compression]), diffId: digestOf(tar) };
}

/** A layer that lies in a file, such as those of a Debian image. */
export function layerOfFile(file: {
  readonly path: string;
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly sizeBytes: number;
}): ImageLayer {
  return { ...file, mediaType: MEDIA_TYPES.ociLayerGzip, content: { path: file.path } };
}

function compress(tar: Uint8Array, compression: LayerCompression): Uint8Array {
  switch (compression) {
    case 'none':
      return tar;
    case 'gzip':
      return gzipSync(tar);
    case 'zstd':
      return zstdCompressSync(tar);
    case 'gzip-members': {
      const third = Math.ceil(tar.length / 3);
      return Buffer.concat([0, 1, 2].map((part) => gzipSync(tar.subarray(part * third, (part + 1) * third))));
    }
  }
}

export function imageOf(options: ImageOptions): Image {
  const docker = options.schema === 'docker';
  const config = blobOf(
    json({
      architecture: options.architecture ?? hostArchitecture(),
      os: 'linux',
      created: IMAGE_CREATED,
      config: {},
      ...options.config,
      rootfs: { type: 'layers', diff_ids: options.layers.map(({ diffId }) => diffId) },
    }),
    docker ? MEDIA_TYPES.dockerConfig : MEDIA_TYPES.ociConfig,
  );
  const layers = docker
    ? options.layers.map((layer) => ({ ...layer, mediaType: MEDIA_TYPES.dockerLayerGzip }))
    : options.layers;
  const mediaType = docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest;
  const manifest = blobOf(
    json({
      schemaVersion: 2,
      mediaType,
      config: descriptorOf(config),
      layers: layers.map(descriptorOf),
    }),
    mediaType,
  );
  return { manifest, config, layers };
}

/** An index over images, each with the platform that it was made for. */
export function indexOf(
  images: readonly { readonly image: Image; readonly architecture: string }[],
  schema: 'oci' | 'docker' = 'oci',
): ImageIndex {
  const mediaType = schema === 'docker' ? MEDIA_TYPES.dockerIndex : MEDIA_TYPES.ociIndex;
  const manifests = images.map(({ image, architecture }) => ({
    ...descriptorOf(image.manifest),
    platform: { os: 'linux', architecture },
  }));
  const index = blobOf(json({ schemaVersion: 2, mediaType, manifests }), mediaType);
  return { index, images: images.map(({ image }) => image) };
}

/** As Go and OCI platforms name it. */
export function hostArchitecture(): string {
  return ARCHITECTURES[process.arch] ?? process.arch;
}

export interface PushOptions {
  readonly repository: string;
  readonly tag: string;
  /** Such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Pushes blobs, manifests and the tag. @param registryUrl such as `http://127.0.0.1:5000` */
export async function pushImage(
  registryUrl: string,
  image: Image | ImageIndex,
  options: PushOptions,
): Promise<void> {
  const images = 'index' in image ? image.images : [image];
  for (const { config, layers, manifest } of images) {
    for (const blob of [...layers, config]) await pushBlob(registryUrl, blob, options);
    if ('index' in image) await pushManifest(registryUrl, manifest, manifest.digest, options);
  }
  const top = 'index' in image ? image.index : image.manifest;
  await pushManifest(registryUrl, top, options.tag, options);
}

/** Pushes one blob unless the registry has it. */
export async function pushBlob(
  registryUrl: string,
  blob: ImageBlob,
  options: Omit<PushOptions, 'tag'>,
): Promise<void> {
  const base = `${registryUrl}/v2/${options.repository}/blobs`;
  const head = await request(`${base}/${blob.digest}`, { method: 'HEAD' }, options, [200, 404]);
  if (head.status === 200) return;
  const started = await request(`${base}/uploads/`, { method: 'POST' }, options, [202]);
  const location = new URL(started.headers.get('location') ?? '', registryUrl);
  location.searchParams.set('digest', blob.digest);
  const { content } = blob;
  const body = (): Body => (content instanceof Uint8Array ? content : createReadStream(content.path));
  const headers = {
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(blob.sizeBytes),
  };
  await request(location.href, { method: 'PUT', headers }, options, [201], body);
}

/** Pushes a manifest or index under a tag or digest. */
export async function pushManifest(
  registryUrl: string,
  manifest: ImageBlob,
  reference: string,
  options: Omit<PushOptions, 'tag'>,
): Promise<void> {
  if (!(manifest.content instanceof Uint8Array)) throw new TypeError('a manifest is pushed from memory');
  const url = `${registryUrl}/v2/${options.repository}/manifests/${reference}`;
  const headers = { 'Content-Type': manifest.mediaType };
  const { content } = manifest;
  await request(url, { method: 'PUT', headers }, options, [201], () => content);
}

type Body = NonNullable<RequestInit['body']>;

const TRIES = 3;

/** Tries again when the connection, which is kept open between requests, is closed by the registry just then. */
async function request(
  url: string,
  init: { readonly method: string; readonly headers?: Readonly<Record<string, string>> },
  options: Omit<PushOptions, 'tag'>,
  expected: readonly number[],
  body?: () => Body,
): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await fetch(url, {
        method: init.method,
        headers: { ...options.headers, ...init.headers },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        ...(body === undefined ? {} : { body: body(), duplex: 'half' }),
      });
      const text = await response.text();
      if (expected.includes(response.status)) return response;
      throw new Error(`${init.method} ${url} was answered with ${response.status}: ${text.slice(0, 1000)}`);
    } catch (error) {
      const reset = error instanceof TypeError && errnoOf(error.cause) === 'ECONNRESET';
      if (!reset || attempt === TRIES) throw error;
    }
  }
}

function descriptorOf(blob: ImageBlob): object {
  return { mediaType: blob.mediaType, digest: blob.digest, size: blob.sizeBytes };
}

function json(document: object): Uint8Array {
  return Buffer.from(JSON.stringify(document));
}
