import {
  type Digest,
  DrakkarError,
  digestOf,
  formatReference,
  MEDIA_TYPES,
  parseManifestDocument,
  parseReference,
} from '@drakkar/protocol';
import type { ResolvedImage } from '../upstream/index.ts';
import type { SnapshotRecord } from './catalogue.ts';

/** The lowest layers of an image, as an image of their own, which no registry has. */
export interface Prefix {
  readonly resolved: ResolvedImage;
  readonly imageConfig: Uint8Array;
}

/** @throws `invalid_argument` where the image has not so many layers */
export function prefixOf(record: SnapshotRecord, layers: number): Prefix {
  const bytes = record.documents.at(-1);
  const document = bytes === undefined ? undefined : parseManifestDocument(bytes);
  if (document?.kind !== 'manifest' || layers < 1 || layers > document.manifest.layers.length) {
    throw new DrakkarError('invalid_argument', `${record.image} has no first ${layers} layers`);
  }
  const config = JSON.parse(Buffer.from(record.imageConfig).toString()) as { rootfs: { diff_ids: string[] } };
  const rootfs = { ...config.rootfs, diff_ids: config.rootfs.diff_ids.slice(0, layers) };
  const imageConfig = Buffer.from(JSON.stringify({ ...config, rootfs, history: [] }));
  const manifest = {
    ...document.manifest,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf(imageConfig), size: imageConfig.length },
    layers: document.manifest.layers.slice(0, layers),
  };
  const manifestBytes = Buffer.from(JSON.stringify(manifest));
  const digest: Digest = digestOf(manifestBytes);
  const { registry, repository } = parseReference(record.image);
  return {
    imageConfig,
    resolved: {
      reference: { registry, repository, tag: undefined, digest },
      rootDigest: digest,
      manifestDigest: digest,
      mediaType: MEDIA_TYPES.ociManifest,
      manifest,
      manifestBytes,
      // Others could not have it from its registry, so they are not told of it.
      documents: [],
    },
  };
}

export const nameOf = ({ resolved }: Prefix): string => formatReference(resolved.reference);
