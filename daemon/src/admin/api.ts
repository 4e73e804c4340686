/**
 * The admin API: HTTP over `<state>/admin.sock`. What takes long answers in JSON lines, one {@link ProgressEvent} a line,
 * of which the last is a `result` or an `error`.
 */
import type { Digest, ErrorDocument, ImageConfig, SnapshotConfig } from '@drakkar/protocol';
import { z } from 'zod';
import type { Finding, Probe } from '../native.ts';
import type { Mark } from '../snapshots/timeline.ts';

export type ProgressEvent<Result> =
  | { readonly type: 'mark'; readonly mark: Mark }
  | ({ readonly type: 'progress' } & Progress)
  | { readonly type: 'result'; readonly result: Result }
  | { readonly type: 'error'; readonly error: ErrorDocument };

/** How far a phase is. `totalBytes` is 0 while it is unknown. */
export interface Progress {
  readonly phase: 'download' | 'build' | 'expand' | 'verify' | 'push';
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Where the bytes of a pull or a start came from. */
export interface Receipt {
  readonly storeBytes: number;
  readonly upstreamBytes: number;
}

const imageRequest = {
  /** A reference as people write it. */
  image: z.string().min(1).max(1024),
  /** `OS/ARCH[/VARIANT]`; this machine's where absent. */
  platform: z.string().max(100).optional(),
};

export const pullRequestSchema = z.strictObject(imageRequest);
export type PullRequest = z.infer<typeof pullRequestSchema>;

export interface PullResult {
  readonly image: string;
  readonly manifestDigest: Digest;
  readonly layers: number;
  readonly sizeBytes: number;
  readonly receipt: Receipt;
  readonly elapsedMs: number;
}

export const buildRequestSchema = z.strictObject({
  ...imageRequest,
  /** Push the artifact to the image's registry as well. */
  push: z.boolean().default(false),
  /** Build even where a snapshot is known. */
  rebuild: z.boolean().default(false),
});
export type BuildSnapshotRequest = z.input<typeof buildRequestSchema>;

export interface SnapshotSummary {
  readonly image: string;
  readonly manifestDigest: Digest;
  readonly platform: string;
  readonly origin: 'built' | 'registry';
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
  /** Whether all that a mount needs is here. */
  readonly local: boolean;
  /** Where it is mounted. */
  readonly path: string | null;
}

export interface SnapshotDetail extends SnapshotSummary {
  readonly artifactDigest: Digest;
  readonly config: SnapshotConfig;
}

export interface BuildResult extends SnapshotSummary {
  /** How it was come by this time. */
  readonly found: 'here' | 'registry' | 'built';
  readonly artifactDigest: Digest;
  readonly pushed: boolean;
  readonly receipt: Receipt;
  readonly marks: readonly Mark[];
}

export interface VerifyResult {
  readonly manifestDigest: Digest;
  readonly verifiedBytes: number;
}

export interface MountResult {
  readonly path: string;
  readonly backing: 'file' | 'loop' | null;
}

export const startRequestSchema = z.strictObject(imageRequest);
export type StartRequest = z.infer<typeof startRequestSchema>;

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

export interface BlobSummary {
  readonly digest: Digest;
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
  readonly builderPublicKey: string;
  readonly store: { readonly quotaBytes: number; readonly usedBytes: number };
  readonly native: Probe | null;
  /** Why the helper can't be asked. */
  readonly nativeError: ErrorDocument | null;
}

export type { Finding, Mark, Probe };
