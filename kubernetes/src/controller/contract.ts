import type { Distribution } from '../resources/index.ts';
import type { PullSecrets } from './secrets.ts';

export interface ControllerLog {
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
}

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

/** The hosts of a cluster, and what they are asked to do. Whoever asks for something owns it. */
export interface Fleet {
  /** All that something is kept of here. */
  owners(): Iterable<string>;
  /** What an owner has asked for and not ended, by the names that it was given. */
  ordersOf(owner: string): ReadonlyMap<string, Order>;
  /**
   * Asks for something under a name; where that is asked for already, nothing happens. Kept when it returns.
   * @throws `busy` where too much is asked for already; `unavailable`
   */
  begin(owner: string, name: string, order: OrderSpec): Promise<void>;
  /** What registries may be shown for all that an owner asks for, from now on. */
  lend(owner: string, secrets: PullSecrets): void;
  /** There is no such owner any more. */
  forget(owner: string): void;
  /** It is wanted no longer, and forgotten. */
  end(owner: string, name: string): Promise<void>;
  partsOf(owner: string, name: string): Iterable<HostPart>;
  /** Of those that are connected. */
  hostNames(): ReadonlySet<string>;
  /** Whether anybody but an owner wants hosts to have it. */
  isKept(image: string, platform: string, except: string): boolean;
  /** Told whose orders are further than they were. */
  onChange(listener: (owner: string) => void): Disposable;
}

/** What a SnapshotPolicy says. */
export interface PolicyRules {
  readonly isOn: boolean;
  readonly images: readonly string[];
  readonly onPush: boolean;
  readonly onFirstPull: boolean;
  readonly minSizeBytes: number;
  readonly atOnce: number;
  readonly refreshMs: number | null;
  /** Snapshots that nobody has started for so long are forgotten. */
  readonly keepMs: number | null;
  readonly distribution: Distribution;
}

export interface PolicyFigures {
  /** Images that were seen, and that it is for. */
  readonly images: number;
  /** Of those, what waits or is being done. */
  readonly pending: number;
}

/** Policies that are kept beside those that people make elsewhere, by the names of SnapshotPolicies. */
export interface KeptPolicies {
  /**
   * @param secrets what registries may be shown for what it wants, unless more is said of an image
   * @throws `invalid_argument` for what none can say; `limit_exceeded`
   */
  keep(name: string, rules: PolicyRules, secrets: PullSecrets): Promise<void>;
  remove(name: string): Promise<void>;
  /** There are no SnapshotPolicies but these: what was kept of others is removed. */
  retain(names: Iterable<string>): Promise<void>;
  figuresOf(name: string): Promise<PolicyFigures>;
  /**
   * Has done for images what a policy says; nothing for those that it is not for.
   * @param secrets what registries may be shown for them
   * @param isAgain also where it was done before: it may not have been possible then
   * @throws `busy` while too much waits
   */
  want(name: string, images: readonly string[], secrets: PullSecrets, isAgain: boolean): Promise<void>;
}
