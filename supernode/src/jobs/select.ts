import { chanceOf, numberOf, type PeerId, type Role } from '@drakkar/protocol';
import type { JobTarget } from './schema.ts';

/** A host, as far as it matters to jobs. */
export interface JobHost {
  readonly peer: PeerId;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly string[];
  /** Whether it does what a supernode has it do. */
  readonly doesTasks: boolean;
}

export function matches({ role, labels = {}, names }: JobTarget, host: JobHost): boolean {
  return (
    (names === undefined || names.includes(host.name)) &&
    (role === undefined || host.roles.includes(role)) &&
    Object.entries(labels).every(([name, value]) => host.labels[name] === value)
  );
}

/** In an order that is as if by lot, and for one job always the same. */
export function byLot<Host extends Pick<JobHost, 'peer'>>(job: string, hosts: Iterable<Host>): Host[] {
  const seed = numberOf(job);
  return [...hosts]
    .map((host) => ({ host, chance: chanceOf(seed, numberOf(host.peer)) }))
    .sort((one, other) => one.chance - other.chance || (one.host.peer < other.host.peer ? -1 : 1))
    .map(({ host }) => host);
}

/** The hosts that a job is for. Of those that match, a percentage is rounded up: something is wanted. */
export function select<Host extends JobHost>(job: string, target: JobTarget, hosts: Iterable<Host>): Host[] {
  const matching = byLot(
    job,
    [...hosts].filter((host) => matches(target, host)),
  );
  const { percentage = 100 } = target;
  return matching.slice(0, Math.ceil((matching.length * percentage) / 100));
}

/** How many hosts may be at it at the same time. */
export function parallelismOf(parallelism: number | string, hosts: number): number {
  if (typeof parallelism === 'number') return parallelism;
  return Math.max(1, Math.floor((hosts * Number.parseInt(parallelism, 10)) / 100));
}

/**
 * Hosts for what one of them does for all, the best first: of those with the role, or of all where nobody has it; who has most of what is
 * needed, then who was tried least.
 */
export function workers<Host extends JobHost>(
  role: Role | undefined,
  hosts: Iterable<Host>,
  weigh: { readonly haveBytes: (host: Host) => number; readonly tries: (host: Host) => number },
): Host[] {
  const able = [...hosts].filter(({ doesTasks }) => doesTasks);
  const named = role === undefined ? [] : able.filter(({ roles }) => roles.includes(role));
  return (named.length > 0 ? named : able)
    .map((host) => ({ host, tries: weigh.tries(host), bytes: weigh.haveBytes(host) }))
    .sort((one, other) => one.tries - other.tries || other.bytes - one.bytes)
    .map(({ host }) => host);
}

const FIRST_BACKOFF_MS = 1_000;
const LAST_BACKOFF_MS = 60_000;

/** @param chance from 0 to 1: hosts that failed together don't come back together */
export function backoffMs(attempts: number, chance: number, lastMs = LAST_BACKOFF_MS): number {
  const most = Math.min(FIRST_BACKOFF_MS * 2 ** Math.min(attempts - 1, 20), lastMs);
  return Math.round(most * (0.5 + chance / 2));
}
