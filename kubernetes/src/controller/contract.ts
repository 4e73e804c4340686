import type { Distribution } from '../resources/index.ts';

/** What hosts are asked to do. */
export type OrderSpec =
  /** Somebody finds out what the image means, and builds its snapshot where the cluster has none. */
  | { readonly kind: 'build'; readonly image: string; readonly platform: string }
  /** Hosts have its snapshot from now on, also those that come later. */
  | {
      readonly kind: 'keep';
      readonly image: string;
      readonly platform: string;
      readonly distribution: Distribution;
    }
  /** Hosts have it no longer, where it is not in use. */
  | { readonly kind: 'evict'; readonly image: string; readonly platform: string };

/** How far something is that hosts were asked to do. */
export interface Order {
  readonly state: 'waiting' | 'running' | 'keeping' | 'succeeded' | 'failed' | 'cancelled';
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Digests of what the name means, and of its manifest for the platform. */
  readonly resolved: { readonly root: string; readonly manifest: string } | null;
  readonly snapshot: { readonly layout: string; readonly sizeBytes: number } | null;
  readonly bytes: { readonly upstream: number; readonly peer: number };
}

/** How far one host is with it. */
export interface HostPart {
  readonly host: string;
  readonly isDone: boolean;
  readonly error: { readonly code: string; readonly message: string } | null;
}
