import { join } from 'node:path';
import { type Digest, hexOf } from '@drakkar/protocol';

/** `blob`: bytes as a registry has them; `volume`: a raw EROFS file that the helper mounts. */
export type ContentKind = 'blob' | 'volume';

/** The places in a state directory. */
export interface Layout {
  readonly directory: string;
  readonly index: string;
  readonly blobs: string;
  readonly volumes: string;
  /** Files in the making. Everything in it goes when the store is opened. */
  readonly staging: string;
  file(kind: ContentKind, digest: Digest): string;
}

export function layoutOf(directory: string): Layout {
  const blobs = join(directory, 'blobs', 'sha256');
  const volumes = join(directory, 'volumes');
  return {
    directory,
    index: join(directory, 'index.sqlite'),
    blobs,
    volumes,
    staging: join(directory, 'staging'),
    file(kind, digest) {
      const hex = hexOf(digest);
      return kind === 'blob' ? join(blobs, hex.slice(0, 2), hex) : join(volumes, hex);
    },
  };
}
