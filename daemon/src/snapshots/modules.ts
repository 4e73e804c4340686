import type { Digest, VolumeFile } from '@drakkar/protocol';
import type { Content as WholeContent } from '../content/index.ts';
import type { NativeHelper } from '../native.ts';
import type { Store as WholeStore } from '../store/index.ts';
import type { RegistryClient } from '../upstream/index.ts';

export interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** What snapshots need of registries. */
export type Registry = Pick<
  RegistryClient,
  'resolve' | 'resolveImage' | 'fetchManifest' | 'fetchBlob' | 'listReferrers' | 'pushBlob' | 'pushReferrer'
>;

/** What snapshots need of the store. */
export type Store = Pick<
  WholeStore,
  | 'stagingDirectory'
  | 'has'
  | 'pathOf'
  | 'reserve'
  | 'adopt'
  | 'touch'
  | 'pin'
  | 'unpin'
  | 'holders'
  | 'remove'
>;

/** What snapshots need of the content service. */
export type Content = Pick<WholeContent, 'read' | 'fetch'>;

/** Context and message; levels as in docs/ARCHITECTURE.md. */
export interface Log {
  debug(context: object, message: string): void;
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

export interface Modules {
  readonly registry: Registry;
  readonly content: Content;
  readonly store: Store;
  readonly native: NativeHelper;
  readonly log: Log;
}

/** Blobs of one snapshot file, as they travel. */
export function blobsOf(file: VolumeFile): { digest: Digest; sizeBytes: number }[] {
  return [
    { digest: file.blobDigest, sizeBytes: file.blobSizeBytes },
    { digest: file.piecesDigest, sizeBytes: file.piecesSizeBytes },
  ];
}
