import { parseReference, toDrakkarError } from '@drakkar/protocol';
import {
  durationMs,
  type ImageSnapshotSpec,
  type ImageSnapshotStatus,
  type ImageStatus,
  type PreviousImage,
} from '../resources/index.ts';
import type { Order, OrderSpec } from './contract.ts';
import { distributionOf, type Item, isPinned, itemsOf, type NodeLabels, nameOf, pinned } from './items.ts';
import { type Due, dueOf, roundOf, scheduleProblem } from './schedule.ts';

/** An ImageSnapshot as it is, and all that is to be known to say what comes next. */
export interface Situation {
  readonly spec: ImageSnapshotSpec;
  readonly status: ImageSnapshotStatus;
  readonly madeAtMs: number;
  /** Its spec is not the one that its status tells of. */
  readonly isEdited: boolean;
  /** It is to go. */
  readonly isDeleted: boolean;
  /** What hosts were asked for it, by its name. */
  readonly orders: ReadonlyMap<string, Order>;
  readonly nodes: NodeLabels;
  /** Why a secret that it names can’t be used, where one can’t. */
  readonly secretProblem: { readonly reason: string; readonly message: string } | undefined;
  /** Whether somebody else wants hosts to have it. */
  keptByOthers(item: Item): boolean;
  readonly nowMs: number;
}

/** What is to be done now, and how all of it stands. */
export interface Plan {
  readonly begin: ReadonlyMap<string, OrderSpec>;
  /** Names of orders that are wanted no longer, or are done with. */
  readonly end: readonly string[];
  readonly images: readonly ImageStatus[];
  readonly previous: readonly PreviousImage[];
  /** By image and platform: the order by which hosts have it. */
  readonly kept: ReadonlyMap<string, string>;
  /** When to look again though nothing has happened. */
  readonly nextMs: number | undefined;
  /** Why tags can’t be looked at again as is said, where they can’t. */
  readonly scheduleProblem: string | undefined;
}

/** Of what is told of in a status: all has to go into one object. */
const MAX_SUPERSEDED = 200;
const FIRST_RETRY_MS = 15_000;
/** Of a secret nobody tells that it can be used now. */
const SECRET_AGAIN_MS = 10_000;
const LAST_RETRY_MS = 10 * 60_000;

export const keyOfItem = ({ image, platform }: Item): string => `${image} ${platform}`;

/** What comes next for an ImageSnapshot. It follows from the situation alone: whoever takes over in the middle goes on. */
export function planOf(situation: Situation): Plan {
  return new Planner(situation).plan();
}

class Planner {
  readonly #situation: Situation;
  readonly #wanted = new Set<string>();
  readonly #begin = new Map<string, OrderSpec>();
  readonly #kept = new Map<string, string>();
  readonly #previous = new Map<string, PreviousImage>();
  readonly #scheduleProblem: string | undefined;
  #nextMs: number | undefined;

  constructor(situation: Situation) {
    this.#situation = situation;
    this.#scheduleProblem = scheduleProblem(situation.spec.refresh, situation.nowMs);
    for (const each of situation.status.previous ?? []) this.#previous.set(keyOfItem(each), each);
  }

  plan(): Plan {
    const { isDeleted, orders } = this.#situation;
    const known = new Map((this.#situation.status.images ?? []).map((each) => [keyOfItem(each), each]));
    const items = isDeleted ? [] : itemsOf(this.#situation);
    const images = items.map((item) => {
      const before = known.get(keyOfItem(item));
      known.delete(keyOfItem(item));
      return this.#imageOf(item, before);
    });
    for (const image of known.values()) this.#part(image, image.digest, 'Removed');
    for (const { image, platform, digest } of images)
      if (digest !== undefined) this.#previous.delete(keyOfItem({ image: pinned(image, digest), platform }));
    this.#evictPrevious();
    const end = [...orders.keys()].filter((name) => !this.#wanted.has(name));
    const previous = [...this.#previous.values()];
    return {
      ...{ begin: this.#begin, end, images, previous, kept: this.#kept, nextMs: this.#nextMs },
      scheduleProblem: this.#scheduleProblem,
    };
  }

  #imageOf(item: Item, before: ImageStatus | undefined): ImageStatus {
    const { spec, secretProblem } = this.#situation;
    const known = before ?? { ...item, phase: 'Pending' as const };
    try {
      parseReference(item.image);
    } catch (error) {
      const { message } = toDrakkarError(error);
      return { ...known, phase: 'Failed', reason: 'InvalidReference', message };
    }
    const built = this.#built(item, known, this.#dueOf(item));
    if (spec.suspend) return suspended(built.digest === known.digest ? known : built);
    if (secretProblem !== undefined) this.#lookAt(this.#situation.nowMs + SECRET_AGAIN_MS);
    if (secretProblem !== undefined && built.digest === undefined)
      return { ...built, phase: 'Failed', ...secretProblem };
    return this.#distributed(item, built, known);
  }

  #dueOf({ image }: Item): Due {
    const { spec, madeAtMs, nowMs } = this.#situation;
    const isNever = isPinned(image) || this.#scheduleProblem !== undefined;
    const due = dueOf(isNever ? undefined : spec.refresh, madeAtMs, nowMs);
    this.#lookAt(due.nextMs);
    return due;
  }

  /** Its snapshot, and what it means: as of the last time that it was due. */
  #built(item: Item, before: ImageStatus, due: Due): ImageStatus {
    const { orders, spec, secretProblem, nowMs } = this.#situation;
    const round = roundOf(due, before.round);
    const isSameRound = before.round === round;
    const failures = isSameRound ? (before.failures ?? 0) : 0;
    const name = nameOf('build', item, round, failures);
    const order = orders.get(name);
    const { nextAttemptTime: againTime, reason: _, message: __, ...rest } = before;
    if (order === undefined) {
      // Long done, and forgotten.
      if (isSameRound && before.digest !== undefined && failures === 0)
        return { ...rest, phase: 'Distributing' };
      if (isSameRound && this.#waits(againTime)) return before;
      if (spec.suspend || secretProblem !== undefined) return before;
      this.#want(name, { kind: 'build', ...item });
      return { ...rest, round, failures, phase: before.digest === undefined ? 'Resolving' : before.phase };
    }
    this.#wanted.add(name);
    if (order.state === 'failed' || order.state === 'cancelled') {
      const nextAttemptTime = this.#againAfter(failures);
      return {
        ...{ ...rest, round, failures: failures + 1, phase: 'Failed', nextAttemptTime },
        ...whyNot(order),
      };
    }
    if (order.state !== 'succeeded' || order.resolved === null) {
      const phase = order.resolved === null ? 'Resolving' : 'Building';
      return { ...rest, round, failures, phase: before.digest === undefined ? phase : before.phase };
    }
    const { root, manifest } = order.resolved;
    if (before.digest !== undefined && before.digest !== root) this.#part(item, before.digest, 'Superseded');
    const { keep: ___, ...others } = rest;
    return {
      ...(before.digest === root ? rest : others),
      ...{ round, failures: 0, phase: 'Distributing', digest: root, manifest },
      ...(order.snapshot === null
        ? {}
        : { snapshot: order.snapshot.layout, sizeBytes: order.snapshot.sizeBytes }),
      resolvedTime: before.digest === root ? (before.resolvedTime ?? round) : new Date(nowMs).toISOString(),
    };
  }

  /** On the hosts that are to have it. */
  #distributed(item: Item, built: ImageStatus, before: ImageStatus): ImageStatus {
    const { orders, spec } = this.#situation;
    const { digest, keep } = built;
    if (digest === undefined) return built;
    const isFailing = built.phase === 'Failed' && built.failures !== 0;
    const { platform } = item;
    const distribution = distributionOf(spec, platform);
    if (distribution.scope === 'None') return isFailing ? built : { ...built, phase: 'Ready' };
    const image = pinned(item.image, digest);
    const failures = keep?.failures ?? 0;
    const name = nameOf('keep', image, platform, distribution, failures);
    this.#kept.set(keyOfItem(item), name);
    const order = orders.get(name);
    if (order === undefined) {
      if (this.#waits(keep?.nextAttemptTime)) {
        const { reason = 'Failed', message = '' } = before;
        return isFailing ? built : { ...built, phase: 'Failed', reason, message };
      }
      this.#want(name, { kind: 'keep', image, platform, distribution });
      return isFailing ? built : { ...built, phase: 'Distributing' };
    }
    this.#wanted.add(name);
    const { upstream: upstreamBytes, peer: peerBytes } = order.bytes;
    const moved = { ...built, upstreamBytes, peerBytes };
    if (order.state === 'failed' || order.state === 'cancelled') {
      const again = { failures: failures + 1, nextAttemptTime: this.#againAfter(failures) };
      return { ...moved, keep: again, ...(isFailing ? {} : { phase: 'Failed', ...whyNot(order) }) };
    }
    if (isFailing) return moved;
    return { ...moved, phase: order.state === 'keeping' ? 'Ready' : 'Distributing' };
  }

  /** Whether it is to be tried again, and not yet. An edit may have mended it. */
  #waits(nextAttemptTime: string | undefined): boolean {
    const { isEdited, nowMs } = this.#situation;
    const untilMs = Date.parse(nextAttemptTime ?? '');
    const isLater = untilMs > nowMs && !isEdited;
    if (isLater) this.#lookAt(untilMs);
    return isLater;
  }

  /** @returns when it is tried again that has failed once more */
  #againAfter(failures: number): string {
    const againMs = this.#situation.nowMs + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures);
    this.#lookAt(againMs);
    return new Date(againMs).toISOString();
  }

  /** It was wanted until now. */
  #part(item: Item, digest: string | undefined, reason: PreviousImage['reason']): void {
    if (digest === undefined) return;
    const previous = { image: pinned(item.image, digest), platform: item.platform };
    const key = keyOfItem(previous);
    const since = this.#previous.get(key)?.since ?? new Date(this.#situation.nowMs).toISOString();
    this.#previous.set(key, { ...previous, since, reason });
  }

  #evictPrevious(): void {
    const { orders, nowMs, spec, status, isDeleted, keptByOthers } = this.#situation;
    const told = new Set((status.previous ?? []).map((each) => keyOfItem(each)));
    const superseded = [...this.#previous]
      .filter(([, { reason }]) => reason === 'Superseded')
      .sort(([, one], [, other]) => one.since.localeCompare(other.since));
    const kept = new Set(superseded.slice(-MAX_SUPERSEDED).map(([key]) => key));
    for (const [key, { image, platform, since }] of this.#previous) {
      const keptMs = kept.has(key) ? durationMs(spec.retention.previous) : 0;
      const untilMs = Date.parse(since) + keptMs;
      if (!isDeleted && untilMs > nowMs) {
        this.#lookAt(untilMs);
        continue;
      }
      // First it is told since when: what is asked has its name from that.
      if (!told.has(key)) {
        this.#lookAt(nowMs);
        continue;
      }
      const name = nameOf('evict', image, platform, since);
      const order = orders.get(name);
      if (order === undefined && !keptByOthers({ image, platform })) {
        this.#want(name, { kind: 'evict', image, platform });
        continue;
      }
      if (order !== undefined) this.#wanted.add(name);
      if (order !== undefined && !isEnded(order.state)) continue;
      // What was asked is kept until it is told that it is done: else it would be asked again.
      this.#previous.delete(key);
      this.#lookAt(nowMs);
    }
  }

  #want(name: string, order: OrderSpec): void {
    this.#wanted.add(name);
    this.#begin.set(name, order);
  }

  #lookAt(atMs: number | undefined): void {
    if (atMs !== undefined) this.#nextMs = Math.min(this.#nextMs ?? atMs, atMs);
  }
}

/** As far as it was, since nothing is begun. */
const suspended = (image: ImageStatus): ImageStatus =>
  image.digest !== undefined || image.phase === 'Failed'
    ? image
    : { ...image, phase: 'Pending', reason: 'Suspended', message: 'it is suspended' };

const isEnded = (state: Order['state']): boolean =>
  state === 'succeeded' || state === 'failed' || state === 'cancelled';

const REASONS: Readonly<Record<string, string>> = {
  not_found: 'ImageNotFound',
  no_platform: 'PlatformNotFound',
  unauthorized: 'RegistryRefuses',
  forbidden: 'RegistryRefuses',
  invalid_argument: 'InvalidImage',
  invalid_content: 'InvalidImage',
  unavailable: 'RegistryUnavailable',
  timeout: 'RegistryUnavailable',
  no_space: 'NoSpace',
};

function whyNot({ state, error }: Order): { readonly reason: string; readonly message: string } {
  if (error !== null) return { reason: REASONS[error.code] ?? 'Failed', message: error.message };
  return state === 'cancelled'
    ? { reason: 'Cancelled', message: 'somebody has cancelled it' }
    : { reason: 'Failed', message: 'no host could do it' };
}
