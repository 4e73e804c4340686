import { once } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import {
  type ApiServer,
  applyTo,
  type ClusterObject,
  type Events,
  isOlder,
  isSameWish,
  Reflector,
  WorkQueue,
} from '../cluster/index.ts';
import {
  API_VERSION,
  GROUP,
  IMAGE_SNAPSHOT,
  type ImageSnapshotSpec,
  type ImageSnapshotStatus,
  imageSnapshotSpecSchema,
} from '../resources/index.ts';
import { conditionsOf, invalid } from './conditions.ts';
import type { ControllerLog, Fleet } from './contract.ts';
import type { NodeLabels } from './items.ts';
import { knownStatus } from './known-status.ts';
import { Orphans } from './orphans.ts';
import { type Plan, planOf } from './plan.ts';
import type { Secrets } from './secrets.ts';
import { ownStatus, writeInMs } from './status.ts';
import { readyNodes, summaryOf } from './summary.ts';
import type { ToldNodes } from './told-nodes.ts';
import { whyInvalid } from './why-invalid.ts';

export interface ImageSnapshotsModules {
  readonly api: ApiServer;
  readonly fleet: Fleet;
  readonly secrets: Secrets;
  readonly events: Events;
  readonly nodes: { readonly objects: NodeLabels; readonly filled: Promise<void> };
  /** Told which nodes have all of one; nobody where absent. */
  readonly told?: Pick<ToldNodes, 'ready'>;
  readonly log: ControllerLog;
}

interface ImageSnapshot extends ClusterObject {
  readonly spec?: unknown;
  readonly status?: ImageSnapshotStatus;
}

/** So long as it is there, what a deleted one has kept is not gone from nodes. */
const FINALIZER = `${GROUP}/kept`;
const PATH = `/apis/${API_VERSION}/${IMAGE_SNAPSHOT.plural}` as const;
const APPLIED = {
  ...{ path: PATH, apiVersion: API_VERSION, kind: IMAGE_SNAPSHOT.kind },
  fieldManager: 'drakkar-supernode',
};
const AT_ONCE = 8;
/** What many hosts say in a row is one look. */
const FURTHER_MS = 500;
const NODES_MS = 2_000;
/** Where there are many, a node that comes changes a number in each: that is written so often, at most. */
const NODES_MS_EACH = 20;
const NOBODY: ReadonlySet<string> = new Set();

/** Has hosts do what ImageSnapshots say, and says there how far they are. */
export class ImageSnapshots implements AsyncDisposable {
  readonly #modules: ImageSnapshotsModules;
  readonly #objects: Reflector<ImageSnapshot>;
  readonly #queue: WorkQueue;
  readonly #orphans: Orphans;
  /** By uid, of those that there are. */
  readonly #names = new Map<string, string>();
  /** As they came back when they were written, until that is heard of. */
  readonly #written = new Map<string, ImageSnapshot>();
  /** By name: when its status was written. */
  readonly #writtenAtMs = new Map<string, number>();
  readonly #ending = new AbortController();
  /** Whether it is known which nodes there are; not where it has ended before. */
  readonly #knowsNodes: Promise<boolean>;
  readonly #listening: Disposable;
  #running: Promise<void> = Promise.resolve();

  constructor(modules: ImageSnapshotsModules) {
    const { api, fleet, nodes, log } = modules;
    this.#modules = modules;
    const ended = once(this.#ending.signal, 'abort').then(() => false);
    this.#knowsNodes = Promise.race([nodes.filled.then(() => true), ended]);
    this.#objects = new Reflector<ImageSnapshot>(api, {
      path: PATH,
      keep: (object) => object,
      changed: (now, before, name) => this.#changed(now, before, name),
      failed: (error) => log.warn({ error }, 'ImageSnapshots can’t be followed at the moment'),
    });
    this.#queue = new WorkQueue({
      atOnce: AT_ONCE,
      work: (name, signal) => this.#reconcile(name, signal),
      failed: (name, error, failures) =>
        log.warn({ imageSnapshot: name, error, failures }, 'an ImageSnapshot is to be looked at again'),
    });
    this.#orphans = new Orphans({ fleet, isThere: (uid) => this.#names.has(uid), log });
    this.#listening = fleet.onChange((uid) => {
      const name = this.#names.get(uid);
      if (name !== undefined) this.#queue.addIn(name, FURTHER_MS);
    });
  }

  /** How many there are. */
  get size(): number {
    return this.#objects.objects.size;
  }

  start(): void {
    this.#running = this.#objects.run(this.#ending.signal);
    // Some may have gone while nobody looked.
    void this.#objects.filled.then(() => this.#orphans.look());
  }

  /** Nodes have come, gone, or other labels. */
  nodesChanged(): void {
    const withinMs = Math.max(NODES_MS, this.size * NODES_MS_EACH);
    for (const name of this.#objects.objects.keys())
      this.#queue.addIn(name, withinMs * (0.5 + Math.random() / 2));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listening[Symbol.dispose]();
    this.#ending.abort();
    await this.#queue[Symbol.asyncDispose]();
    await this.#orphans[Symbol.asyncDispose]();
    await this.#running;
  }

  #changed(now: ImageSnapshot | undefined, before: ImageSnapshot | undefined, name: string): void {
    const written = this.#written.get(name);
    if (now === undefined || !isOlder(now, written)) this.#written.delete(name);
    if (before !== undefined && before.metadata.uid !== now?.metadata.uid) {
      this.#names.delete(before.metadata.uid);
      this.#orphans.look();
    }
    if (now === undefined) {
      this.#writtenAtMs.delete(name);
      this.#modules.told?.ready(name, NOBODY);
      return;
    }
    this.#names.set(now.metadata.uid, name);
    if (!isSameWish(now, before)) this.#queue.add(name);
    // Somebody else may have written over what we say.
    else if (isOlder(written, now) && !isDeepStrictEqual(now.status, before?.status))
      this.#queue.addIn(name, FURTHER_MS);
  }

  /** What we have written is known before it is heard of: else what it says would be done once more. */
  #known(name: string): ImageSnapshot | undefined {
    const heard = this.#objects.objects.get(name);
    const written = this.#written.get(name);
    return heard !== undefined && isOlder(heard, written) ? written : heard;
  }

  async #write(
    object: ImageSnapshot,
    what: { readonly status: unknown } | { readonly metadata: object },
    signal: AbortSignal,
  ): Promise<void> {
    const { name } = object.metadata;
    const written = await applyTo(this.#modules.api, APPLIED, object, what, signal);
    const heard = this.#objects.objects.get(name);
    if (written !== undefined && heard !== undefined && isOlder(heard, written))
      this.#written.set(name, written);
  }

  /** @returns after how many milliseconds it is to be looked at again */
  async #reconcile(name: string, signal: AbortSignal): Promise<number | undefined> {
    if (!(await this.#knowsNodes)) return undefined;
    const object = this.#known(name);
    if (object === undefined) return undefined;
    const isDeleted = object.metadata.deletionTimestamp !== undefined;
    const hasFinalizer = object.metadata.finalizers?.includes(FINALIZER) === true;
    if (isDeleted && !hasFinalizer) return undefined;
    const spec = imageSnapshotSpecSchema.safeParse(object.spec);
    if (!spec.success && isDeleted) {
      await this.#orphans.endAll(object.metadata.uid);
      await this.#keepFinalizer(object, false, signal);
      return undefined;
    }
    if (!spec.success) {
      await this.#sayInvalid(object, whyInvalid(spec.error, object.spec), signal);
      return undefined;
    }
    if (!hasFinalizer) await this.#keepFinalizer(object, true, signal);
    return await this.#bringAbout(object, spec.data, isDeleted, signal);
  }

  async #bringAbout(
    object: ImageSnapshot,
    spec: ImageSnapshotSpec,
    isDeleted: boolean,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { fleet, secrets, nodes } = this.#modules;
    const { uid, creationTimestamp, generation = 0 } = object.metadata;
    const before = knownStatus(object.status);
    const nowMs = Date.now();
    const pull = await secrets.read(spec.pullSecrets ?? [], signal);
    const plan = planOf({
      ...{ spec, status: before, isDeleted, nodes: nodes.objects, nowMs },
      isEdited: before.observedGeneration !== generation,
      madeAtMs: Date.parse(creationTimestamp ?? ''),
      orders: fleet.ordersOf(uid),
      secretProblem: pull.problem,
      keptByOthers: ({ image, platform }) => fleet.isKept(image, platform, uid),
    });
    fleet.lend(uid, pull);
    const refusal = await this.#order(uid, plan);
    const now = new Date(nowMs).toISOString();
    const partsOf = (order: string) => fleet.partsOf(uid, order);
    const hostNames = () => fleet.hostNames();
    const summary = { spec, before, generation, plan, nodes: nodes.objects, partsOf, hostNames, now };
    const status = summaryOf(summary);
    const isGone = !this.#names.has(uid);
    if (isGone) this.#orphans.look();
    const isForNodes = !isGone && !isDeleted && spec.distribution.scope === 'Nodes';
    this.#modules.told?.ready(object.metadata.name, isForNodes ? readyNodes(summary) : NOBODY);
    const againMs = await this.#say(object, status, signal);
    this.#tell(object, status);
    if (refusal !== undefined) throw refusal;
    if (isDeleted && plan.previous.length === 0 && fleet.ordersOf(uid).size === 0) {
      await this.#keepFinalizer(object, false, signal);
      return undefined;
    }
    if (plan.begin.size > 0 || plan.end.length > 0) return FURTHER_MS;
    const nextMs = plan.nextMs === undefined ? againMs : Math.max(0, plan.nextMs - Date.now());
    return nextMs === undefined ? undefined : Math.min(nextMs, againMs ?? nextMs);
  }

  /** @returns why not all of it could be ordered */
  async #order(uid: string, plan: Plan): Promise<unknown> {
    const { fleet } = this.#modules;
    try {
      for (const name of plan.end) await fleet.end(uid, name);
      for (const [name, order] of plan.begin) await fleet.begin(uid, name, order);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** @returns after how many milliseconds it is to be said, where that is not yet */
  async #say(
    object: ImageSnapshot,
    status: ImageSnapshotStatus,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { name } = object.metadata;
    const nowMs = performance.now();
    const sinceMs = nowMs - (this.#writtenAtMs.get(name) ?? Number.NEGATIVE_INFINITY);
    const inMs = writeInMs(object.status, sinceMs, status);
    if (inMs !== 0) return inMs;
    await this.#write(object, { status }, signal);
    if (this.#objects.objects.has(name)) this.#writtenAtMs.set(name, nowMs);
    return undefined;
  }

  async #sayInvalid(object: ImageSnapshot, message: string, signal: AbortSignal): Promise<void> {
    const { conditions = [], ...rest } = ownStatus(object.status);
    const { generation = 0 } = object.metadata;
    const all = conditionsOf(conditions, invalid(message), generation, new Date().toISOString());
    await this.#say(object, { ...rest, observedGeneration: generation, conditions: all }, signal);
  }

  async #keepFinalizer(object: ImageSnapshot, isKept: boolean, signal: AbortSignal): Promise<void> {
    const metadata = isKept ? { finalizers: [FINALIZER] } : {};
    await this.#write(object, { metadata }, signal);
  }

  /** Of what is not as it was. */
  #tell(object: ImageSnapshot, status: ImageSnapshotStatus): void {
    const { events } = this.#modules;
    const before = object.status ?? {};
    const named = { ...object, apiVersion: API_VERSION, kind: IMAGE_SNAPSHOT.kind };
    const was = new Map(before.conditions?.map((condition) => [condition.type, condition]));
    for (const { type, status: now, message } of status.conditions ?? []) {
      const known = was.get(type);
      if (now === 'True' && known?.status !== 'True')
        events.tell(named, { type: 'Normal', reason: type, message });
    }
    const known = new Map(before.images?.map((image) => [`${image.image} ${image.platform}`, image]));
    for (const { image, platform, phase, reason, message, failures, keep } of status.images ?? []) {
      const last = known.get(`${image} ${platform}`);
      const isSame = last?.failures === failures && last?.keep?.failures === keep?.failures;
      if (phase === 'Failed' && (last?.phase !== 'Failed' || !isSame))
        events.tell(named, {
          ...{ type: 'Warning', reason: reason ?? 'Failed' },
          message: `${image} for ${platform}: ${message ?? 'it failed'}`,
        });
    }
  }
}
