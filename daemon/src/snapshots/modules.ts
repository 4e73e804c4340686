import type { Digest, SnapshotConfig, VolumeFile } from '@drakkar/protocol';
import type { Content as WholeContent } from '../content/index.ts';
import type { NativeHelper } from '../native.ts';
import type { Store as WholeStore } from '../store/index.ts';
import type { ClusterSnapshots } from '../swarm/index.ts';
import type { RegistryClient } from '../upstream/index.ts';
import type { SnapshotRecord } from './catalogue.ts';

export interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** What snapshots need of registries. */
export type Registry = Pick<
  RegistryClient,
  | 'resolve'
  | 'resolveImage'
  | 'fetchManifest'
  | 'headBlob'
  | 'fetchBlob'
  | 'listReferrers'
  | 'pushBlob'
  | 'pushReferrer'
>;

/** What snapshots need of the store. */
export type Store = Pick<
  WholeStore,
  | 'stagingDirectory'
  | 'has'
  | 'stat'
  | 'verify'
  | 'pathOf'
  | 'put'
  | 'reserve'
  | 'adopt'
  | 'prepareVolume'
  | 'volumeFilled'
  | 'touch'
  | 'pin'
  | 'unpin'
  | 'holders'
  | 'remove'
  | 'findTag'
  | 'putTag'
>;

/** What snapshots need of the content service. */
export type Content = Pick<
  WholeContent,
  'read' | 'fetch' | 'pieceTable' | 'openPieces' | 'offer' | 'offerPieces'
>;

/** What snapshots need of the cluster's other hosts. */
export type Cluster = Pick<
  ClusterSnapshots,
  'find' | 'layoutOf' | 'announce' | 'lost' | 'learned' | 'reportTrace' | 'onUp'
>;

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
  /** The other hosts, where there are any. */
  readonly cluster: Cluster | undefined;
  readonly log: Log;
}

/** What makes a snapshot, however it was come by. */
export type SnapshotParts = Pick<SnapshotRecord, 'config' | 'envelope' | 'artifact' | 'signer' | 'origin'>;

/** Its meta, and its devices in the order of their slots. */
export function filesOf(config: SnapshotConfig): VolumeFile[] {
  return [config.meta, ...config.devices];
}

/** What is mounted. */
export function rawDigests(config: SnapshotConfig): Digest[] {
  return filesOf(config).map(({ rawDigest }) => rawDigest);
}

/** What of a snapshot is to be here: all its files, or the meta alone, where its devices are filled as they are read. */
export type Extent = 'whole' | 'meta';

export function filesWithin(config: SnapshotConfig, extent: Extent): VolumeFile[] {
  return extent === 'whole' ? filesOf(config) : [config.meta];
}

/** Whether all that a mount needs is here, and good. */
export async function isLocal(config: SnapshotConfig, extent: Extent, store: Store): Promise<boolean> {
  const digests = filesWithin(config, extent).map(({ rawDigest }) => rawDigest);
  await store.verify(digests);
  return digests.every((digest) => store.has(digest, 'volume'));
}

/** What travels, by digest. */
export interface TravellingBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** One file as it travels. */
export function blobsOf(file: VolumeFile): [blob: TravellingBlob, pieces: TravellingBlob] {
  return [
    { digest: file.blobDigest, sizeBytes: file.blobSizeBytes },
    { digest: file.piecesDigest, sizeBytes: file.piecesSizeBytes },
  ];
}

/** What a later version can be built upon; nothing where a snapshot has no such list. */
export function chunkListOf({ chunks }: SnapshotConfig): TravellingBlob[] {
  return chunks === undefined ? [] : [{ digest: chunks.blobDigest, sizeBytes: chunks.blobSizeBytes }];
}

/** All blobs of its artifact, but for its config. */
export function allBlobsOf(config: SnapshotConfig): TravellingBlob[] {
  return [...filesOf(config).flatMap(blobsOf), ...chunkListOf(config)];
}

/** Everything of it that the store may hold: as it is mounted and as it travels. */
export function allDigests(config: SnapshotConfig): Digest[] {
  return [...rawDigests(config), ...allBlobsOf(config).map(({ digest }) => digest)];
}
