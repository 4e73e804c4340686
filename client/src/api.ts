/**
 * The admin API: HTTP over `<state>/admin.sock`. What takes long answers in JSON lines, one {@link ProgressEvent} a line,
 * of which the last is a `result` or an `error`.
 */
import type { ErrorDocument } from '@drakkar/errors';
import type { Digest, ImageConfig, PeerId, SnapshotConfig } from '@drakkar/protocol';
import type { Probe } from './probe.ts';

export type ProgressEvent<Result> =
  | { readonly type: 'mark'; readonly mark: Mark }
  | ({ readonly type: 'progress' } & Progress)
  | ({ readonly type: 'opened' } & ReadableContent)
  | { readonly type: 'result'; readonly result: Result }
  | { readonly type: 'error'; readonly error: ErrorDocument };

/** A named moment, in milliseconds since the timeline began. */
export interface Mark {
  readonly name: MarkName;
  readonly atMs: number;
}

/**
 * The moments of a start, in the order in which they pass:
 * `resolved` the tag is a digest · `snapshot-found` here, in the cluster or in the registry · `snapshot-built` · `meta-ready` everything
 * that the mount needs is local · `mounted` volume and overlay · `container-created` · `first-output` · `ended`.
 */
export type MarkName =
  | 'resolved'
  | 'snapshot-found'
  | 'snapshot-built'
  | 'meta-ready'
  | 'mounted'
  | 'container-created'
  | 'first-output'
  | 'ended';

/** How far a phase is. `totalBytes` is 0 while it is unknown. */
export interface Progress {
  readonly phase: 'download' | 'build' | 'expand' | 'verify' | 'push';
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Content that can be read from now on, though it may still be arriving. */
export interface ReadableContent {
  /** Its digest, or what stands for it. */
  readonly content: Digest;
  readonly sizeBytes: number;
}

/**
 * Where the bytes of a pull or a start came from, and how they came. Store, registry and other hosts together are what the request
 * has got; what it waited for because another request was getting it already stands in that one's receipt.
 */
export interface Receipt {
  readonly storeBytes: number;
  /** From the registry. */
  readonly upstreamBytes: number;
  /** From other hosts. */
  readonly peerBytes: number;
  /** Came for another request of this host at the same time, whose receipt says from where. */
  readonly joinedBytes: number;
  /** Came and was thrown away, and counts nowhere else: what somebody else had brought meanwhile, was cut off, or was wrong. */
  readonly discardedBytes: number;
  /** Hosts that gave something, at most 64; who gave most comes first. */
  readonly peers: readonly PeerShare[];
  /** Requests that were given up because a host or the registry was slow or failed, and pauses of 2 s without a byte. */
  readonly stalls: number;
  /** From the request to the first bytes that could be used, whatever their source; `null` where none came. */
  readonly firstByteMs: number | null;
}

/** What one host gave. */
export interface PeerShare {
  readonly peer: PeerId;
  /** As its membership calls it; `null` where that is not known. */
  readonly name: string | null;
  readonly bytes: number;
}

/** An image, by a reference as people write it. */
export interface ImageRequest {
  readonly image: string;
  /** `OS/ARCH[/VARIANT]`; the daemon's own where absent. */
  readonly platform?: string | undefined;
}

export interface PullRequest extends ImageRequest {
  /** False for manifests and config alone. True where absent. */
  readonly layers?: boolean | undefined;
}

export interface PullResult {
  readonly image: string;
  readonly manifestDigest: Digest;
  /** How old the answer is to what the tag means, where its registry is away; else `null`. */
  readonly tagAgeMs: number | null;
  readonly layers: number;
  /** Of all layers. */
  readonly sizeBytes: number;
  /** What it consists of: what its name means, what leads from there to the manifest, the manifest; then its config; then its layers, the lowest first. */
  readonly parts: ImageParts;
  readonly receipt: Receipt;
  readonly elapsedMs: number;
}

export interface ImageParts {
  readonly documents: readonly ImagePart[];
  readonly config: ImagePart;
  readonly layers: readonly ImagePart[];
}

/** Names it as OCI descriptors do. */
export interface ImagePart {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/** A file of a web server. */
export interface GetRequest {
  readonly url: string;
  /** 64 hex digits, where the caller knows them. */
  readonly sha256?: string | undefined;
  /** Only what is from here on is wanted; all of it when absent. */
  readonly startBytes?: number | undefined;
  /** First byte not wanted any more; the end when absent. */
  readonly endBytes?: number | undefined;
}

export interface GetResult {
  readonly url: string;
  /** `null` where a part of a file is here and its digest is not known yet. */
  readonly digest: Digest | null;
  /** What the content is read by: the digest, or what stands for it. */
  readonly content: Digest;
  /** Of the whole file. */
  readonly sizeBytes: number;
  readonly receipt: Receipt;
  readonly elapsedMs: number;
}

export interface BuildSnapshotRequest extends ImageRequest {
  /** Push the artifact to the image's registry as well. */
  readonly push?: boolean | undefined;
  /** Build even where a snapshot is known. */
  readonly rebuild?: boolean | undefined;
}

export interface SnapshotSummary {
  readonly image: string;
  readonly manifestDigest: Digest;
  readonly platform: string;
  readonly origin: 'built' | 'registry' | 'cluster';
  readonly signer: string;
  readonly createdAtMs: number;
  readonly files: number;
  readonly devices: number;
  /** Compressed bytes of the image's own layers, of the snapshot as it travels, and of its meta alone. */
  readonly imageSizeBytes: number;
  readonly blobSizeBytes: number;
  readonly metaBlobSizeBytes: number;
  /** Bytes on this host when all of it is here. */
  readonly rawSizeBytes: number;
  /** How much of its devices is here: 0 … 1. Of one that is not mounted, how much of them lies on the disk. */
  readonly residency: number;
  /** Whether all of it is here: it can be mounted and read with nobody to ask. */
  readonly offlineReady: boolean;
  /** Where it is mounted. */
  readonly path: string | null;
}

export interface SnapshotDetail extends SnapshotSummary {
  readonly artifactDigest: Digest;
  readonly config: SnapshotConfig;
}

export interface BuildResult extends SnapshotSummary {
  /** How it was come by this time. */
  readonly found: 'here' | 'cluster' | 'registry' | 'built';
  readonly artifactDigest: Digest;
  readonly pushed: boolean;
  readonly receipt: Receipt;
  readonly marks: readonly Mark[];
}

/** What starts of a snapshot read, and how well the last ones on this host were foreseen. */
export interface SnapshotTrace {
  readonly image: string;
  readonly manifestDigest: Digest;
  /** In the order in which starts come to them; bytes of devices. */
  readonly ranges: readonly TracedRange[];
  /** The last one first. */
  readonly starts: readonly ForeseenStart[];
}

export interface TracedRange {
  /** Its slot, from 0. */
  readonly device: number;
  readonly offset: number;
  readonly length: number;
  /** Files that lie there, without a slash before them; none where the snapshot's meta is not here. */
  readonly paths: readonly string[];
}

/** In blocks of the snapshot. */
export interface ForeseenStart {
  readonly atMs: number;
  readonly touchedBlocks: number;
  readonly prefetchedBlocks: number;
  /** Touched ones that were here before anybody waited for them. */
  readonly hits: number;
}

export interface VerifyResult {
  readonly manifestDigest: Digest;
  readonly verifiedBytes: number;
}

export interface MountResult {
  readonly path: string;
  readonly backing: 'file' | 'loop' | null;
  readonly residency: number;
}

export interface StartRequest extends ImageRequest {
  /** What runs instead of the image's own entrypoint and command, where something does: it says what the start will read. */
  readonly entrypoint?: readonly string[] | undefined;
  readonly command?: readonly string[] | undefined;
  /** The process that runs the container: once it has ended, and its container too, the root file system may go. */
  readonly ownerPid?: number | undefined;
}

/** A prepared root file system; {@link StartResult.id} is what to remove when the container has ended. */
export interface StartResult {
  readonly id: string;
  readonly rootfs: string;
  readonly image: string;
  readonly manifestDigest: Digest;
  readonly imageConfig: ImageConfig;
  readonly found: BuildResult['found'];
  readonly receipt: Receipt;
  readonly marks: readonly Mark[];
}

/** How a start is doing. */
export interface StartStatus {
  /** What has come for it so far, also while its container runs. */
  readonly receipt: Receipt;
  /** As of its snapshot. */
  readonly residency: number;
  readonly offlineReady: boolean;
}

export interface BlobSummary {
  readonly digest: Digest;
  /** The URL, without its query, that a file was fetched from; else the registry or server. `null` for what was made here. */
  readonly from: string | null;
  readonly kind: 'blob' | 'volume';
  readonly sizeBytes: number;
  readonly presentBytes: number;
  readonly complete: boolean;
  readonly pins: readonly string[];
  readonly lastUsedAtMs: number;
}

export interface DaemonStatus {
  readonly version: string;
  readonly pid: number;
  readonly uid: number;
  readonly stateDirectory: string;
  readonly uptimeMs: number;
  readonly mirrorUrl: string;
  /** Where containerd finds its snapshotter; `null` where there is none. */
  readonly snapshotterSocket: string | null;
  readonly builderPublicKey: string;
  readonly metricsPort: number | null;
  /** Bytes of blobs from registries since the start, and blobs that are on their way. */
  readonly traffic: { readonly upstreamBytes: number; readonly downloads: number };
  /** `null` where this host is alone. */
  readonly swarm: SwarmStatus | null;
  readonly store: { readonly quotaBytes: number; readonly usedBytes: number };
  readonly native: Probe | null;
  /** Why the helper can't be asked. */
  readonly nativeError: ErrorDocument | null;
}

/** How a host stands in the swarm. */
export interface SwarmStatus {
  readonly peer: PeerId;
  /** All supernodes as if they were one. */
  readonly supernode: SupernodeStanding;
  readonly supernodes: readonly (SupernodeStanding & {
    /** Blobs may be its own, and this host asks it about them. */
    readonly serving: boolean;
  })[];
  /** Until when this host is a member; `null` where it is none. */
  readonly memberUntilMs: number | null;
  /** Other hosts that it may ask without a supernode. */
  readonly knownPeers: number;
  readonly controlPort: number;
  readonly dataPort: number;
  /** Requests of other hosts that are being served. */
  readonly uploads: number;
  /** Blobs about which it speaks with other hosts. */
  readonly exchanges: number;
  /** Bytes to and from other hosts since the start. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/** A supernode, as a daemon sees it. */
export interface SupernodeStanding {
  /** `host:port/PEER` */
  readonly address: string;
  readonly up: boolean;
  readonly downMs: number;
  /** Why it is not up: nobody answers, or it refuses this host. */
  readonly error: ErrorDocument | null;
  /** How far its clock was ahead of this host's when the two last met; `null` where they have not. */
  readonly clockAheadMs: number | null;
}
