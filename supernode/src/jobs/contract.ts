import type { PeerId } from '@drakkar/protocol';
import type { Job, ResolvedImage } from './schema.ts';
import type { JobHost } from './select.ts';
import type { Step } from './tasks.ts';

/** What a job needs of the supernode. */
export interface JobEvents {
  /** Gives a host something to do, perhaps once more: it does it once. */
  send(peer: PeerId, task: string, step: Step, job: Job): void;
  cancel(peer: PeerId, task: string): void;
  /** Hosts are not to be given anything of it yet. */
  isHeld(): boolean;
  /** A host's part, or the job itself, is not what it was. */
  changed(peer: PeerId | null): void;
  /** A host is further than it was. */
  progressed(): void;
  /** How many tasks may be begun now. */
  room(): number;
  /** There is more to do: `advance` is to be called again, when others have had their turn. */
  more(): void;
  /** Those that are connected. */
  hosts(): Iterable<JobHost>;
  host(peer: PeerId): JobHost | undefined;
  /** Members that are not connected and were not long ago. */
  awayHosts(): Iterable<JobHost>;
  /** What a host has of an image's layers. */
  haveBytes(peer: PeerId, image: ResolvedImage, job: Job): number;
  /** The image's snapshot, where the cluster knows one. */
  findSnapshot(job: Job): Job['snapshot'];
  /** Whether no other job builds the same snapshot. */
  mayBuild(job: Job): boolean;
}

export interface JobClock {
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Goes on evenly. */
  evenMs(): number;
  /** From 0 to 1. */
  chance(): number;
}
