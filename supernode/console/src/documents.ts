/** What the supernode’s API gives, so far as the console shows it. A supernode may leave out what is optional here. */

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: string | null;
}

/** One thing that is wrong with a request. */
export interface Issue {
  /** Where: `body/images/0`. */
  readonly path: string;
  readonly message: string;
}

export type ApiRole = 'viewer' | 'operator' | 'admin';

export interface WhoAmI {
  readonly name: string;
  readonly role: ApiRole;
  readonly token: string | null;
  readonly expiresAtMs: number | null;
}

/** One of several supernodes. */
export interface Replica {
  readonly peer: string;
  readonly address: string;
  readonly version: string;
  readonly startedAtMs: number;
  /** Blobs are its own; one that has just begun waits for its hosts first. */
  readonly serving: boolean;
  readonly hosts: number;
  /** It has the jobs, the policies and the API. */
  readonly leads: boolean;
}

export interface Status {
  readonly version: string;
  readonly peer: string;
  readonly address: string;
  readonly uptimeMs: number;
  readonly hosts: number;
  readonly blobs: number;
  readonly snapshots: number;
  readonly jobs: number;
  /** Where there are several: all of them. */
  readonly supernodes: readonly Replica[];
}

export type HostState = 'connected' | 'away' | 'quarantined' | 'revoked';

export interface Host {
  readonly peer: string;
  readonly name: string;
  readonly state: HostState;
  readonly dataAddress: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly string[];
  readonly uploads: number;
  readonly uploadSlots: number;
  readonly blobs: number;
  readonly heardAtMs: number;
  readonly quarantineReason?: string | null;
  readonly quarantinedUntilMs?: number | null;
}

export interface TrafficPoint {
  readonly atMs: number;
  readonly upstreamBytesPerSecond: number;
  readonly peerBytesPerSecond: number;
}

export interface StartBucket {
  /** Its upper end; `null` has none. */
  readonly toMs: number | null;
  readonly count: number;
}

export interface RecentStart {
  readonly atMs: number;
  readonly peer: string;
  readonly host: string;
  readonly image: string;
  readonly found: string;
  readonly totalMs: number;
}

export interface Starts {
  readonly count: number;
  readonly p50Ms: number | null;
  readonly p90Ms: number | null;
  readonly p99Ms: number | null;
  readonly buckets: readonly StartBucket[];
  readonly recent: readonly RecentStart[];
}

export interface Overview {
  readonly hosts: Readonly<Record<HostState, number>>;
  readonly traffic: {
    readonly upstreamBytes: number;
    readonly peerBytes: number;
    readonly upstreamBytesPerSecond: number;
    readonly peerBytesPerSecond: number;
  };
  readonly history: readonly TrafficPoint[];
  readonly starts: Starts;
  readonly jobs: { readonly active: number };
  readonly snapshots: number;
  readonly blobs: number;
}

export interface TopologyHost {
  readonly peer: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly string[];
  readonly sentBytesPerSecond: number;
  readonly receivedBytesPerSecond: number;
}

/** One host gives another one pieces. */
export interface Feed {
  readonly from: string;
  readonly to: string;
  readonly bytesPerSecond: number;
}

export interface Topology {
  readonly hosts: readonly TopologyHost[];
  readonly feeds: readonly Feed[];
}

export interface Blob {
  readonly digest: string;
  readonly origin: string;
  readonly sizeBytes: number;
  readonly pieces: number;
  readonly seeds: number;
  readonly children: number;
}

export interface BlobPart {
  readonly peer: string;
  readonly name: string;
  readonly havePieces: number;
  readonly wants: boolean;
  /** 64 cells as 16 hex digits, the first cell in the lowest bit; `null` where the host has not said. */
  readonly map: string | null;
}

/** One way in which a blob is cut, from one place. */
export interface BlobDetail extends Blob {
  readonly parts: readonly BlobPart[];
}

export interface Snapshot {
  readonly registry: string;
  readonly repository: string;
  readonly platform: string;
  readonly root: string;
  readonly manifest: string;
  readonly layout: string;
  readonly builder: string;
  readonly announcer: string;
  readonly pushed: boolean;
  readonly sizeBytes: number;
  readonly devices: number;
  readonly usedAtMs: number;
}

export interface SnapshotPart {
  readonly kind: 'meta' | 'device';
  readonly slot: number;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly pieces: number;
  /** Other snapshots that use it. */
  readonly sharedWith: readonly { readonly repository: string; readonly manifest: string }[];
  readonly hosts: readonly { readonly peer: string; readonly name: string; readonly residency: number }[];
}

export interface PrefetchRange {
  readonly device: number;
  readonly offset: number;
  readonly length: number;
}

export interface SnapshotDetail extends Snapshot {
  readonly layers: readonly { readonly digest: string; readonly sizeBytes: number }[];
  readonly parts: readonly SnapshotPart[];
  readonly prefetch: readonly PrefetchRange[];
}

export type JobState = 'waiting' | 'running' | 'paused' | 'keeping' | 'succeeded' | 'failed' | 'cancelled';
export type WorkState = 'waiting' | 'running' | 'succeeded' | 'failed' | 'cancelled';
export type JobAction = 'cancel' | 'pause' | 'resume' | 'retry';

export interface WorkError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

export interface HostWork {
  readonly peer: string;
  readonly name: string;
  readonly state: WorkState;
  readonly attempts: number;
  readonly nextAttemptAtMs: number | null;
  readonly phase: string | null;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly sizeBytes: number;
  readonly upstreamBytes: number;
  readonly peerBytes: number;
  readonly error: WorkError | null;
}

/** Which hosts, and how many of them at a time. */
export interface RolloutDocument {
  readonly parallelism?: number | string | undefined;
  readonly target?:
    | {
        readonly role?: string | undefined;
        readonly labels?: Readonly<Record<string, string>> | undefined;
        readonly percentage?: number | undefined;
        readonly hosts?: number | undefined;
      }
    | undefined;
}

export interface Job {
  readonly id: string;
  readonly spec: RolloutDocument & {
    readonly kind: string;
    readonly image?: string | undefined;
    readonly url?: string | undefined;
    readonly digest?: string | undefined;
    readonly platform?: string | undefined;
    readonly keep?: boolean | undefined;
  };
  readonly state: JobState;
  readonly reason: string | null;
  readonly error: WorkError | null;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly resolve: HostWork | null;
  readonly build: HostWork | null;
  readonly snapshot: { readonly layout: string; readonly sizeBytes: number; readonly found: string } | null;
  readonly isSelected: boolean;
  readonly hosts: Readonly<Record<WorkState | 'total', number>>;
  readonly bytes: { readonly size: number; readonly upstream: number; readonly peer: number };
}

export interface Policy {
  readonly id: string;
  readonly name: string;
  readonly images: readonly string[];
  readonly enabled: boolean;
  readonly on: { readonly push: boolean; readonly firstPull: boolean };
  readonly minSizeBytes: number;
  readonly atOnce: number;
  readonly push: boolean;
  readonly distribute: (RolloutDocument & { readonly content: 'snapshot' | 'start' | 'layers' }) | null;
  readonly refreshMs: number | null;
  readonly keepMs: number | null;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly changedAtMs: number;
}

/** An image that was pushed, pulled or asked for. */
export interface SeenImage {
  readonly image: string;
  readonly platform: string | null;
  readonly seenAtMs: number;
}

/** What a policy would be for. */
export interface DryRun {
  readonly images: readonly SeenImage[];
}

export interface Delivery {
  readonly id: string;
  readonly atMs: number;
  readonly outcome: 'taken' | 'repeated' | 'refused' | 'malformed' | 'nothing';
  readonly detail: string;
}

export interface Webhook {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly registry: string | null;
  /** Where the sender sends it, below the address of the API. */
  readonly path: string;
  readonly proof: string;
  /** The newest first. */
  readonly deliveries: readonly Delivery[];
  /** Whose sender was told to come again. */
  readonly postponed: {
    readonly count: number;
    readonly lastAtMs: number | null;
    readonly detail: string | null;
  };
}

export interface NewWebhook extends Webhook {
  readonly secret: string;
}

export interface TriedPolicy {
  readonly id: string;
  readonly name: string;
  readonly does: readonly ('build' | 'distribute')[];
}

/** What a delivery would have done. */
export interface WebhookTrial {
  /** What was tried, where nothing was given. */
  readonly example?: unknown;
  readonly images: readonly { readonly image: string; readonly policies: readonly TriedPolicy[] }[];
}
