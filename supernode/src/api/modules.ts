import type { Digest, PeerId } from '@drakkar/protocol';
import type { Tracing } from '@drakkar/service';
import type { z } from 'zod';
import type { Jobs } from '../jobs/index.ts';
import type { SupernodeMetrics } from '../metrics.ts';
import type { Policies } from '../policies/index.ts';
import type { Hooks } from '../webhooks/index.ts';
import type { Audit } from './audit.ts';
import type {
  BlobDetailDocument,
  blobSchema,
  HostDocument,
  joinTokenSchema,
  OverviewDocument,
  SnapshotDetailDocument,
  snapshotSchema,
  statusSchema,
  TopologyDocument,
} from './documents.ts';
import type { Events } from './events.ts';
import type { Tokens } from './tokens.ts';

/** What the API speaks for. */
export interface ApiModules {
  readonly jobs: Jobs;
  readonly tokens: Tokens;
  readonly audit: Audit;
  readonly events: Events;
  readonly policies: Policies;
  readonly hooks: Hooks;
  readonly metrics: Pick<SupernodeMetrics, 'requestSeconds' | 'deliveries'>;
  readonly tracing: Tracing;
  readonly members: MembersApi;
  status(): z.output<typeof statusSchema>;
  overview(): OverviewDocument;
  topology(): TopologyDocument;
  blobs(): Iterable<BlobEntry>;
  /** As it is cut in each of the ways that hosts have it in. */
  blob(digest: Digest): BlobDetailDocument[];
  snapshot(manifest: Digest): SnapshotDetailDocument | undefined;
  snapshots(options: { readonly after?: string | undefined; readonly limit: number }): {
    readonly items: z.output<typeof snapshotSchema>[];
    readonly next: string | null;
  };
}

/** A blob of a long list, of which only a page is shown. */
export interface BlobEntry {
  /** By which the list is ordered; printable ASCII. */
  readonly key: string;
  document(): z.output<typeof blobSchema>;
}

/** A host of a long list, of which only a page is shown. */
export interface HostEntry extends Pick<HostDocument, 'name' | 'peer' | 'state' | 'labels'> {
  readonly roles: readonly string[];
  document(): HostDocument;
}

/** What is done with hosts, and what lets them in. */
export interface MembersApi {
  /** In the order of their names and peers. */
  list(): readonly HostEntry[];
  find(peer: PeerId): HostDocument | undefined;
  joinToken(): z.output<typeof joinTokenSchema>;
  rotateJoinToken(): Promise<void>;
  rotateClusterKey(): Promise<void>;
  /** @returns whether it could have been a member until now; `false` where it was revoked already */
  revoke(peer: PeerId): Promise<boolean>;
  forget(peer: PeerId): Promise<void>;
  /** All that nothing was heard of for so long. */
  forgetAway(awayMs: number): Promise<{ readonly peer: PeerId; readonly name: string }[]>;
}
