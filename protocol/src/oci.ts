import { DrakkarError } from '@drakkar/errors';
import { z } from 'zod';
import { type Digest, digestOf, isDigest } from './digest.ts';

/** Media types of OCI image-spec 1.1 and of Docker's schema 2. */
export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** What a client that understands every manifest kind sends as `Accept`. */
export const MANIFEST_ACCEPT = [
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.dockerIndex,
  '*/*;q=0.1',
].join(', ');

/** Bounds on documents that come from a registry. containerd, too, refuses manifests over 8 MiB. */
export const OCI_LIMITS = {
  manifestBytes: 8 * 1024 * 1024,
  configBytes: 8 * 1024 * 1024,
  layersPerManifest: 512,
  manifestsPerIndex: 1024,
  indexDepth: 3,
  annotationsPerObject: 1024,
} as const;

const digestSchema = z.custom<Digest>(isDigest, 'not a sha256 digest');
const sizeSchema = z.int().min(0);
const annotationsSchema = z
  .record(z.string(), z.string())
  .refine((map) => Object.keys(map).length <= OCI_LIMITS.annotationsPerObject, 'too many annotations');

const platformSchema = z.object({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
  'os.version': z.string().optional(),
});
export type Platform = z.infer<typeof platformSchema>;

const descriptorSchema = z.object({
  mediaType: z.string().max(255),
  digest: digestSchema,
  size: sizeSchema,
  annotations: annotationsSchema.optional(),
  platform: platformSchema.optional(),
  artifactType: z.string().max(255).optional(),
});
export type Descriptor = z.infer<typeof descriptorSchema>;

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().max(255).optional(),
  artifactType: z.string().max(255).optional(),
  config: descriptorSchema,
  layers: z.array(descriptorSchema).max(OCI_LIMITS.layersPerManifest),
  subject: descriptorSchema.optional(),
  annotations: annotationsSchema.optional(),
});
export type Manifest = z.infer<typeof manifestSchema>;

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().max(255).optional(),
  manifests: z.array(descriptorSchema).max(OCI_LIMITS.manifestsPerIndex),
  annotations: annotationsSchema.optional(),
});
export type Index = z.infer<typeof indexSchema>;

const stringListSchema = z.array(z.string()).nullish();
const imageConfigSchema = z.object({
  os: z.string().default('linux'),
  architecture: z.string().default('amd64'),
  variant: z.string().optional(),
  created: z.string().nullish(),
  config: z
    .object({
      User: z.string().nullish(),
      Env: stringListSchema,
      Entrypoint: stringListSchema,
      Cmd: stringListSchema,
      WorkingDir: z.string().nullish(),
      StopSignal: z.string().nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
    })
    .nullish(),
  rootfs: z.object({
    type: z.string(),
    diff_ids: z.array(digestSchema).max(OCI_LIMITS.layersPerManifest).nullish(),
  }),
});
/** The parts of an image's config that Drakkar uses; the rest is left alone. */
export type ImageConfig = z.infer<typeof imageConfigSchema>;

export type ManifestDocument =
  | { readonly kind: 'manifest'; readonly mediaType: string; readonly manifest: Manifest }
  | { readonly kind: 'index'; readonly mediaType: string; readonly index: Index };

function parseJson(bytes: Uint8Array, limitBytes: number, what: string): unknown {
  if (bytes.length > limitBytes) {
    throw new DrakkarError('limit_exceeded', `${what} has ${bytes.length} bytes; the limit is ${limitBytes}`);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new DrakkarError('invalid_content', `${what} is not JSON in UTF-8`, { cause });
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.join('.')}`;
  const code = issue?.code === 'too_big' ? 'limit_exceeded' : 'invalid_content';
  throw new DrakkarError(code, `${what} is not valid${where}: ${issue?.message ?? 'unknown reason'}`);
}

/**
 * A manifest or an index, told apart by its own `mediaType`, else by `contentType`, else by what it holds.
 * @throws `invalid_content` | `limit_exceeded`
 */
export function parseManifestDocument(bytes: Uint8Array, contentType?: string): ManifestDocument {
  const value = parseJson(bytes, OCI_LIMITS.manifestBytes, 'the manifest');
  const declared =
    typeof value === 'object' && value !== null && 'mediaType' in value && typeof value.mediaType === 'string'
      ? value.mediaType
      : contentType?.split(';', 1)[0]?.trim();
  const holdsManifests = typeof value === 'object' && value !== null && 'manifests' in value;
  const holdsLayers = typeof value === 'object' && value !== null && 'layers' in value;
  if (holdsManifests && holdsLayers) {
    throw new DrakkarError('invalid_content', 'the manifest has both layers and manifests: it is ambiguous');
  }
  const isIndex =
    declared === MEDIA_TYPES.ociIndex || declared === MEDIA_TYPES.dockerIndex
      ? true
      : declared === MEDIA_TYPES.ociManifest || declared === MEDIA_TYPES.dockerManifest
        ? false
        : holdsManifests;
  if (isIndex) {
    const index = check(indexSchema, value, 'the image index');
    return { kind: 'index', mediaType: declared ?? MEDIA_TYPES.ociIndex, index };
  }
  const manifest = check(manifestSchema, value, 'the image manifest');
  return { kind: 'manifest', mediaType: declared ?? MEDIA_TYPES.ociManifest, manifest };
}

/** @throws `invalid_content` | `limit_exceeded` */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  return check(
    imageConfigSchema,
    parseJson(bytes, OCI_LIMITS.configBytes, 'the image config'),
    'the image config',
  );
}

/** This machine in OCI terms (Go's GOOS and GOARCH). */
export function hostPlatform(arch: string = process.arch): Platform {
  const architecture = { x64: 'amd64', ia32: '386', arm: 'arm' }[arch] ?? arch;
  return { os: 'linux', architecture };
}

/** @throws `invalid_argument` unless the text is `OS/ARCH[/VARIANT]` */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...rest] = text.split('/');
  if (!os || !architecture || rest.length > 0 || variant === '') {
    throw new DrakkarError('invalid_argument', `platform ${JSON.stringify(text)} is not OS/ARCH[/VARIANT]`);
  }
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

export function formatPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant]
    .filter((part) => part !== undefined)
    .join('/');
}

/** The entry of an index that fits a platform best, or `undefined`. An exact variant wins over none. */
export function selectPlatform(manifests: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  const fits = manifests.filter(
    ({ platform, artifactType }) =>
      artifactType === undefined &&
      platform?.os === wanted.os &&
      platform.architecture === wanted.architecture &&
      (wanted.variant === undefined || platform.variant === undefined || platform.variant === wanted.variant),
  );
  return fits.find(({ platform }) => platform?.variant === wanted.variant) ?? fits[0];
}

/** What containerd calls an image's layers, each with all below it. Source: ChainID in the OCI image specification, config.md. */
export function chainIdsOf(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}
