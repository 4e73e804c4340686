import {
  type BlobKey,
  type BlobName,
  blobKeyOf,
  type Digest,
  type DrakkarError,
  encodeBlobName,
  type FoundMessage,
  type FromSupernode,
  formatHostPort,
  LOCALITY_LABELS,
  ownerOf,
  type PeerId,
  rawOf,
  type SupernodeAddress,
  type TaskMessage,
} from '@drakkar/protocol';
import { currentTraceparent } from '@drakkar/service';
import {
  type ControlNode,
  FEATURE_NAMES,
  FEATURE_SNAPSHOTS,
  FEATURE_TABLES,
  FEATURE_TASKS,
} from '@drakkar/wire';
import type { Log } from '../snapshots/modules.ts';
import { EXCHANGE_DEFAULTS } from './options.ts';
import type { Standing } from './standing.ts';
import {
  type FromDaemonInit,
  type HeartbeatInit,
  type HostDescription,
  SupernodeLink,
} from './supernode-link.ts';
import {
  type AnnouncedBlob,
  adviceOf,
  announcement,
  type Candidate,
  candidatesOf,
  type Named,
  type NameNews,
  namedOf,
  type SnapshotsSaid,
  type SupernodeAdvice,
  supernodesOf,
  type TaskReportInit,
  type ToldSupernodes,
} from './supernode-messages.ts';

export interface SupernodesEvents {
  advice(advice: SupernodeAdvice): void;
  revoked(peers: readonly PeerId[]): void;
  named(name: Named): void;
  /** @param holders whom to ask for the meta of what was found */
  found(answer: FoundMessage, holders: readonly Candidate[]): void;
  /** @param traceparent of the trace to which it belongs; empty where there is none */
  task(task: TaskMessage, traceparent: string): void;
  cancelTask(id: string): void;
  /** Others than before are there to be asked, or nobody any more. */
  changed(): void;
  /** Complete content to announce. */
  complete(): Iterable<AnnouncedBlob>;
  /** What one supernode is told of this host, until it is one no more. */
  figures(): Figures;
}

export interface SupernodesModules {
  readonly host: HostDescription;
  readonly node: ControlNode;
  readonly standing: Standing;
  readonly joinSecret: string;
  readonly log: Log;
}

export interface Figures extends Disposable {
  beat(): HeartbeatInit;
}

/** How one of them stands, as this host sees it. */
export interface KnownSupernode {
  /** `host:port/PEER` */
  readonly address: string;
  readonly link: Pick<SupernodeLink, 'isUp' | 'downMs' | 'lastError' | 'clockAheadMs'>;
  /** Blobs and names may be its own. */
  readonly serving: boolean;
}

interface Wanted extends AnnouncedBlob {
  havePieces: number;
  /** Nothing of it is wanted for now. */
  isResting: boolean;
  /** Whom it was asked of last. */
  owner: SupernodeLink | undefined;
  /** One of them has said whom to ask for it. */
  isAdvised: boolean;
  /** That one has let this host read it upstream. */
  isUpstream: boolean;
  /** Of the trace for which it is wanted. */
  readonly traceparent: string | undefined;
}

interface Known {
  readonly link: SupernodeLink;
  readonly figures: Figures;
  readonly isConfigured: boolean;
}

const { haveIntervalMs: HAVE_INTERVAL_MS } = EXCHANGE_DEFAULTS;

/**
 * The supernodes of the cluster as if they were one. All of them are told what is here; what is wanted, and what a name means, one is asked, whose it
 * is by its digest: where that one goes, the next. Told again is all of it whenever one comes up anew.
 */
export class Supernodes implements AsyncDisposable {
  readonly #modules: SupernodesModules;
  readonly #events: SupernodesEvents;
  readonly #known = new Map<PeerId, Known>();
  readonly #wanted = new Map<BlobKey, Wanted>();
  readonly #toldAtMs = new Map<BlobKey, number>();
  readonly #endings = new Set<Promise<void>>();
  #told: ToldSupernodes | undefined;
  /** Who has said so. */
  #teller: SupernodeLink | undefined;
  /** Those that are there to be asked. */
  #serving: ReadonlyMap<PeerId, SupernodeLink> = new Map();
  #isStarted = false;
  #localityLabels: readonly string[] = LOCALITY_LABELS;

  constructor(
    options: SupernodesModules & {
      /** Where some of them are; the others are heard of. */
      readonly addresses: readonly SupernodeAddress[];
      readonly events: SupernodesEvents;
    },
  ) {
    const { addresses, events, ...modules } = options;
    this.#modules = modules;
    this.#events = events;
    for (const address of addresses) this.#meet(address, true);
    for (const address of modules.standing.supernodes)
      if (!this.#known.has(address.peer)) this.#meet(address, false);
  }

  start(): void {
    this.#isStarted = true;
    for (const { link } of this.#known.values()) link.start();
  }

  /** Where some of them are was said anew. */
  configure(addresses: readonly SupernodeAddress[]): void {
    const named = new Map(addresses.map((address) => [address.peer, address]));
    for (const { link, isConfigured } of [...this.#known.values()]) {
      const { peer } = link.address;
      const now = named.get(peer);
      const isAsBefore = now === undefined ? !isConfigured : addressOf(now) === addressOf(link.address);
      if (!isAsBefore && !link.isUp) this.#end(peer);
    }
    for (const [peer, address] of named) if (!this.#known.has(peer)) this.#meet(address, true);
  }

  /** Which labels say where a host is. */
  get localityLabels(): readonly string[] {
    return this.#localityLabels;
  }

  /** Whether one is there to be asked. */
  get isUp(): boolean {
    return this.#serving.size > 0;
  }

  get knowsNames(): boolean {
    return this.#can(FEATURE_NAMES);
  }

  get knowsSnapshots(): boolean {
    return this.#can(FEATURE_SNAPSHOTS);
  }

  /** How long all of them have been away; 0 while one is there. */
  get downMs(): number {
    return this.isUp ? 0 : Math.min(...this.#links().map(({ downMs }) => downMs));
  }

  list(): KnownSupernode[] {
    return [...this.#known.values()].map(({ link }) => ({
      address: addressOf(link.address),
      link,
      serving: this.#serving.has(link.address.peer),
    }));
  }

  want(blob: AnnouncedBlob, havePieces: number): void {
    const key = blobKeyOf(blob.name);
    const known = this.#wanted.get(key);
    const { owner, isAdvised = false, isUpstream = false, traceparent: before } = known ?? {};
    const traceparent = currentTraceparent() ?? before;
    const wanted = { ...blob, havePieces, isResting: false, owner, isAdvised, isUpstream, traceparent };
    this.#wanted.set(key, wanted);
    if (!this.#route(wanted)) this.#ask(wanted);
  }

  /** Nothing of a wanted blob is wanted for now, and what is here stays on offer. */
  rest(name: BlobName): void {
    const wanted = this.#wanted.get(blobKeyOf(name));
    if (wanted === undefined) return;
    wanted.isResting = true;
    wanted.isAdvised = false;
    wanted.isUpstream = false;
    this.#tellAll(name, { case: 'have', value: announcement(wanted, wanted.havePieces) });
    this.#say(name, { case: 'forget', value: { blob: encodeBlobName(name), want: true, have: false } });
  }

  /** How far a wanted blob is, and which 64ths of it are here. */
  progress(name: BlobName, havePieces: number, cells: () => bigint): void {
    const key = blobKeyOf(name);
    const wanted = this.#wanted.get(key);
    if (wanted === undefined) return;
    wanted.havePieces = havePieces;
    const nowMs = performance.now();
    if (nowMs - (this.#toldAtMs.get(key) ?? 0) < HAVE_INTERVAL_MS) return;
    this.#toldAtMs.set(key, nowMs);
    this.#tellAll(name, { case: 'have', value: { ...announcement(wanted, havePieces), cells: cells() } });
  }

  /** All of it is here. */
  complete(blob: AnnouncedBlob): void {
    this.#unwant(blob.name);
    this.#tellAll(blob.name, { case: 'have', value: announcement(blob, blob.pieces) });
  }

  giveUp(name: BlobName): void {
    this.#unwant(name);
    this.#tellAll(name, { case: 'forget', value: { blob: encodeBlobName(name), want: true, have: true } });
  }

  /** It is here no longer. */
  forget(name: BlobName): void {
    this.#tellAll(name, { case: 'forget', value: { blob: encodeBlobName(name), want: false, have: true } });
  }

  report(peer: PeerId, name: BlobName, piece: number): void {
    const value = { blob: encodeBlobName(name), piece, peer };
    this.#say(name, { case: 'report', value }, this.#wanted.get(blobKeyOf(name))?.traceparent);
  }

  useless(peer: PeerId, name: BlobName): void {
    this.#say(name, { case: 'useless', value: { blob: encodeBlobName(name), peer } });
  }

  originProgress(name: BlobName, bytes: number): void {
    this.#say(name, { case: 'originProgress', value: { blob: encodeBlobName(name), bytes: BigInt(bytes) } });
  }

  originRelease(name: BlobName): void {
    const wanted = this.#wanted.get(blobKeyOf(name));
    if (wanted !== undefined) wanted.isUpstream = false;
    this.#say(name, { case: 'originRelease', value: { blob: encodeBlobName(name) } });
  }

  name(key: Digest, news: NameNews): void {
    const owner = this.#ownerOf(key);
    if (owner?.can(FEATURE_NAMES))
      owner.send({ case: 'name', value: { key: rawOf(key), ...news } }, currentTraceparent());
  }

  /** @param key who is asked about it, and told of it @returns who was told, where there is one */
  snapshots(key: Digest, message: SnapshotsSaid): Pick<SupernodeLink, 'isUp'> | undefined {
    const owner = this.#ownerOf(key);
    if (owner?.can(FEATURE_SNAPSHOTS) !== true) return undefined;
    owner.send(message, currentTraceparent());
    return owner;
  }

  /** Whoever it is that goes on with the job. */
  task(report: TaskReportInit): void {
    for (const link of this.#links())
      if (link.can(FEATURE_TASKS)) link.send({ case: 'taskReport', value: report });
  }

  /** An image without a snapshot was pulled. @returns whether there is a supernode that cares */
  firstPull(image: string, platform: string, sizeBytes: number): boolean {
    const caring = this.#links().filter((link) => link.can(FEATURE_TASKS));
    const value = { image: { reference: image, platform }, sizeBytes: BigInt(sizeBytes) };
    for (const link of caring) link.send({ case: 'firstPull', value }, currentTraceparent());
    return caring.length > 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { link } of [...this.#known.values()]) this.#end(link.address.peer);
    await Promise.all(this.#endings);
  }

  #links(): SupernodeLink[] {
    return [...this.#known.values()].map(({ link }) => link);
  }

  #can(feature: bigint): boolean {
    return this.#serving.values().some((link) => link.can(feature));
  }

  #ownerOf(key: Digest): SupernodeLink | undefined {
    const owner = ownerOf(key, this.#serving.keys());
    return owner && this.#serving.get(owner);
  }

  #meet(address: SupernodeAddress, isConfigured: boolean): void {
    const figures = this.#events.figures();
    const link = new SupernodeLink({
      ...this.#modules,
      address,
      events: {
        up: () => this.#up(link),
        down: () => this.#serve(),
        heard: (said) => this.#heard(said, link),
        revoked: (peers) => this.#events.revoked(peers),
        beat: () => figures.beat(),
      },
    });
    this.#known.set(address.peer, { link, figures, isConfigured });
    if (this.#isStarted) link.start();
  }

  #end(peer: PeerId): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    this.#known.delete(peer);
    known.figures[Symbol.dispose]();
    const ending = known.link[Symbol.asyncDispose]().finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
  }

  #up(link: SupernodeLink): void {
    this.#localityLabels = link.localityLabels;
    this.#serve();
    for (const wanted of this.#wanted.values())
      if (wanted.owner !== link && wanted.havePieces > 0)
        tell(link, wanted.name, { case: 'have', value: announcement(wanted, wanted.havePieces) });
    for (const blob of this.#events.complete())
      if (!this.#wanted.has(blobKeyOf(blob.name)))
        tell(link, blob.name, { case: 'have', value: announcement(blob, blob.pieces) });
  }

  /** Finds out who is there to be asked, and asks those whose something is now. */
  #serve(): void {
    const up = this.#links().filter(({ isUp }) => isUp);
    const serving = up.filter(({ address }) => this.#told?.all.get(address.peer)?.serving !== false);
    const known = serving.filter(({ address }) => this.#told?.all.has(address.peer) !== false);
    const chosen = [known, serving, up].find((links) => links.length > 0) ?? [];
    const before = this.#serving;
    this.#serving = new Map(chosen.map((link) => [link.address.peer, link]));
    const isSame =
      before.size === chosen.length && chosen.every((link) => before.get(link.address.peer) === link);
    if (isSame) return;
    for (const wanted of this.#wanted.values()) this.#route(wanted);
    this.#events.changed();
  }

  /** Sees to it that who is asked about a blob is who should be. @returns whether it was asked just now */
  #route(wanted: Wanted): boolean {
    const { name, owner: before } = wanted;
    const owner = this.#ownerOf(name.digest);
    if (owner === before) return false;
    wanted.owner = owner;
    if (before?.isUp === true && !wanted.isResting)
      tell(before, name, { case: 'forget', value: { blob: encodeBlobName(name), want: true, have: false } });
    return this.#ask(wanted);
  }

  #ask(wanted: Wanted): boolean {
    const { owner, havePieces, isAdvised, isUpstream, isResting, name, traceparent } = wanted;
    if (owner === undefined || isResting) return false;
    const value = { ...announcement(wanted, havePieces), upstream: isUpstream, returning: isAdvised };
    tell(owner, name, { case: 'want', value }, traceparent);
    return true;
  }

  #unwant(name: BlobName): void {
    this.#wanted.delete(blobKeyOf(name));
    this.#toldAtMs.delete(blobKeyOf(name));
  }

  /** To whose it is. */
  #say(name: BlobName, message: FromDaemonInit, traceparent?: string): void {
    const owner = this.#ownerOf(name.digest);
    if (owner !== undefined) tell(owner, name, message, traceparent);
  }

  #tellAll(name: BlobName, message: FromDaemonInit): void {
    for (const link of this.#links()) tell(link, name, message);
  }

  #heard({ message, traceparent }: FromSupernode, link: SupernodeLink): void {
    switch (message.case) {
      case 'candidates': {
        const advice = adviceOf(message.value);
        const wanted = this.#wanted.get(blobKeyOf(advice.blob));
        // From one whose it is no longer.
        if (wanted !== undefined && wanted.owner !== link) break;
        if (wanted !== undefined) {
          wanted.isAdvised = true;
          wanted.isUpstream = advice.upstream;
        }
        this.#events.advice(advice);
        break;
      }
      case 'named':
        this.#events.named(namedOf(message.value));
        break;
      case 'found':
        this.#events.found(message.value, candidatesOf(message.value.holders));
        break;
      case 'task':
        this.#events.task(message.value, traceparent);
        break;
      case 'cancelTask':
        this.#events.cancelTask(message.value.id);
        break;
      case 'supernodes':
        this.#heardOf(supernodesOf(message.value), link);
        break;
      default:
        // Something that a later version says.
        break;
    }
  }

  #heardOf(told: ToldSupernodes, teller: SupernodeLink): void {
    // One that does not hear of the others any more goes on telling of those that it knew.
    const isOther = teller !== this.#teller && this.#teller?.isUp === true;
    if (isOther && told.revision < (this.#told?.revision ?? 0n)) return;
    this.#told = told;
    this.#teller = teller;
    const { all } = told;
    for (const { link, isConfigured } of [...this.#known.values()]) {
      const { peer } = link.address;
      const now = all.get(peer);
      const isMoved = now !== undefined && addressOf(now.address) !== addressOf(link.address);
      if ((now === undefined && !isConfigured) || (isMoved && !link.isUp)) this.#end(peer);
    }
    for (const [peer, { address }] of all) if (!this.#known.has(peer)) this.#meet(address, false);
    this.#modules.standing.knowSupernodes([...all.values()].map(({ address }) => address));
    this.#serve();
  }
}

/** An older supernode would take it for something else about a blob that is not cut by a table. */
function tell(link: SupernodeLink, { table }: BlobName, message: FromDaemonInit, traceparent?: string): void {
  if (table === undefined || link.can(FEATURE_TABLES)) link.send(message, traceparent);
}

const addressOf = ({ at, peer }: SupernodeAddress): string => `${formatHostPort(at)}/${peer}`;

/** Why nobody is there to be asked, where that is known. */
export function whyDown(supernodes: readonly KnownSupernode[]): DrakkarError | undefined {
  return supernodes.find(({ link }) => link.lastError !== undefined)?.link.lastError;
}
