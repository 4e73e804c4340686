import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type Digest,
  decodeTrace,
  digestFromRaw,
  type FindMessage,
  type LearnMessage,
  type LostMessage,
  type PeerId,
  parseRepository,
  type ReportTraceMessage,
  rawOf,
  type SnapshotMessage,
  SnapshotMessageSchema,
} from '@drakkar/protocol';
import type { Start, Traces } from '@drakkar/service';
import type { Logger } from 'pino';
import type { FromSupernodeInit } from '../control/messages.ts';
import type { Authority } from '../members/authority.ts';
import type { Members } from '../members/members.ts';
import type { Swarm } from '../swarm/swarm.ts';
import { type Announced, readAnnounced } from './announced.ts';
import type { KnownSnapshot, SnapshotCatalogue } from './catalogue.ts';

/** What daemons say about snapshots. What they say wrong of them is ignored; questions that are none throw. */
export interface SnapshotEvents {
  announce(peer: PeerId, snapshot: SnapshotMessage | undefined): void;
  find(question: FindMessage): Answer;
  learn(question: LearnMessage): Answer;
  lost(peer: PeerId, lost: LostMessage): void;
  report(peer: PeerId, traced: ReportTraceMessage): void;
}

type Answer = FromSupernodeInit;

type FoundInit = Extract<NonNullable<Answer['message']>, { case: 'found' }>['value'];
type Holder = NonNullable<FoundInit['holders']>[number];

/** As many as a host asks at once. */
const MAX_HOLDERS = 4;

/** A builder that stands for all members. */
export const EVERY_MEMBER = '*';

export interface SnapshotsOptions {
  /** Whose snapshots the cluster vouches for: names, peers, or {@link EVERY_MEMBER}. */
  readonly builders: readonly string[];
}

export interface SnapshotsModules {
  readonly catalogue: SnapshotCatalogue;
  readonly traces: Traces;
  readonly authority: Pick<Authority, 'vouch'>;
  readonly members: Pick<Members, 'find'>;
  readonly swarm: Pick<Swarm, 'hasSeed' | 'seedsOf'>;
  /** Milliseconds of the clock by which the swarm goes. */
  now(): number;
  readonly log: Logger;
}

/** What the cluster knows of snapshots: which there are, who vouches for them, and what starts read of them. */
export class Snapshots implements SnapshotEvents {
  readonly #options: SnapshotsOptions;
  readonly #modules: SnapshotsModules;

  constructor(options: SnapshotsOptions, modules: SnapshotsModules) {
    this.#options = options;
    this.#modules = modules;
  }

  announce(peer: PeerId, snapshot: SnapshotMessage | undefined): void {
    const { catalogue, log } = this.#modules;
    const nowMs = Date.now();
    const announced = this.#read(peer, snapshot);
    if (snapshot === undefined || announced === undefined) return;
    const { registry, root, platform, manifest, builder } = announced;
    const known = catalogue.find(registry, root, platform, nowMs);
    // The first one stays, as long as it is as good; who has announced it may have more to say.
    const isKept =
      known?.root === root &&
      known.announcer !== peer &&
      this.#isAvailable(known) &&
      (this.#isBuilder(known.announcer) || !this.#isBuilder(peer));
    if (isKept) return;
    const message = toBinary(SnapshotMessageSchema, snapshot);
    catalogue.put({ ...announced, announcer: peer, pushed: snapshot.pushed, message }, nowMs);
    log.info({ peer, repository: snapshot.repository, manifest, builder }, 'a snapshot was announced');
  }

  /** One that somebody can give, of an image that is named by what its tag means. */
  known(registry: string, root: Digest, platform: string): KnownSnapshot | undefined {
    const known = this.#modules.catalogue.find(registry, root, platform, Date.now());
    return known !== undefined && this.#isAvailable(known) ? known : undefined;
  }

  find({ number, repository, platform, root, startKey, brief }: FindMessage): Answer {
    const { traces, log } = this.#modules;
    const nowMs = Date.now();
    const { registry } = parseRepository(repository);
    const known = this.known(registry, digestFromRaw(root), platform);
    log.debug({ repository, platform, isKnown: known !== undefined }, 'a host asks for a snapshot');
    if (known === undefined) return found({ number });
    const layout = rawOf(known.layout);
    if (brief) return found({ number, known: true, layout });
    return found({
      number,
      known: true,
      layout,
      snapshot: fromBinary(SnapshotMessageSchema, known.message),
      voucher: this.#voucherOf(known, nowMs),
      learned: traces.learned({ layout: known.layout, startKey: digestFromRaw(startKey) }),
      holders: this.#holdersOf(known),
    });
  }

  learn({ number, layout, startKey }: LearnMessage): Answer {
    const learned = this.#modules.traces.learned(startOf({ layout, startKey }));
    return found({ number, known: learned.length > 0, learned });
  }

  /** Who could not have it may be the one to blame: it goes only where nobody is known who has all of it. */
  lost(peer: PeerId, { repository, manifest: raw }: LostMessage): void {
    const { catalogue, swarm, log } = this.#modules;
    const { registry } = parseRepository(repository);
    const manifest = digestFromRaw(raw);
    const known = catalogue.findManifest(registry, manifest);
    if (known?.blobs.every((blob) => swarm.hasSeed(blob)) !== false) return;
    catalogue.drop(registry, manifest);
    log.warn({ peer, repository, manifest }, 'a snapshot is lost: nobody has all of it');
  }

  report(peer: PeerId, { layout, startKey, ranges }: ReportTraceMessage): void {
    const { catalogue, traces } = this.#modules;
    const start = startOf({ layout, startKey });
    const trace = decodeTrace(ranges);
    // What nobody is given nobody needs to learn about.
    if (catalogue.hasLayout(start.layout)) traces.report(start, peer, trace, Date.now());
  }

  /** A host is a member no longer, and what it has announced no longer believed. */
  revoke(peer: PeerId): void {
    const dropped = this.#modules.catalogue.dropOf(peer);
    if (dropped > 0) this.#modules.log.info({ peer, dropped }, 'snapshots of a revoked host are forgotten');
  }

  #read(peer: PeerId, snapshot: SnapshotMessage | undefined): Announced | undefined {
    try {
      return snapshot === undefined ? undefined : readAnnounced(snapshot);
    } catch (error) {
      this.#modules.log.warn({ peer, error }, 'an announced snapshot is ignored');
      return undefined;
    }
  }

  /** Whether somebody can give all of it. */
  #isAvailable({ pushed, blobs }: KnownSnapshot): boolean {
    return pushed || blobs.every((blob) => this.#modules.swarm.hasSeed(blob));
  }

  #isBuilder(peer: PeerId): boolean {
    const { builders } = this.#options;
    const member = this.#modules.members.find(peer);
    if (member === undefined || member.revokedAtMs !== null) return false;
    return builders.some(
      (builder) => builder === EVERY_MEMBER || builder === peer || builder === member.name,
    );
  }

  /** Of the meta, which is what is asked for first. */
  #holdersOf({ blobs: [meta] }: KnownSnapshot): Holder[] {
    const { swarm, now } = this.#modules;
    const seeds = meta === undefined ? [] : swarm.seedsOf(meta, now(), MAX_HOLDERS);
    return seeds.map(({ peer, dataAddress, controlAddresses }) => ({
      peer,
      dataAddress,
      controlAddresses: [...controlAddresses],
      complete: true,
    }));
  }

  #voucherOf({ announcer, manifest, platform, envelope, builder }: KnownSnapshot, nowMs: number): string {
    if (!this.#isBuilder(announcer)) return '';
    return this.#modules.authority.vouch({ manifest, platform, envelope, builder }, nowMs);
  }
}

function startOf({ layout, startKey }: { layout: Uint8Array; startKey: Uint8Array }): Start {
  return { layout: digestFromRaw(layout), startKey: digestFromRaw(startKey) };
}

const found = (value: FoundInit): Answer => ({
  message: { case: 'found', value },
});
