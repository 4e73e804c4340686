import { fromBinary } from '@bufbuild/protobuf';
import {
  blobKeyOf,
  type Digest,
  decodeTrace,
  type Manifest,
  type PeerId,
  parseManifestDocument,
  type SnapshotMessage,
  SnapshotMessageSchema,
} from '@drakkar/protocol';
import type { Traces } from '@drakkar/service';
import {
  type ApiModules,
  type BlobDetailDocument,
  type BlobDocument,
  type HostDocument,
  type HostEntry,
  type OverviewDocument,
  type SnapshotDetailDocument,
  type TopologyDocument,
  writtenOnce,
} from './api/index.ts';
import { type Control, clockMs } from './control/control.ts';
import type { Jobs } from './jobs/index.ts';
import type { Member, Members } from './members/members.ts';
import type { ListedSnapshot, SnapshotCatalogue } from './snapshots/catalogue.ts';
import { type BlobSwarm, isSeed } from './swarm/state.ts';
import type { Traffic } from './traffic/traffic.ts';

export interface ViewsModules {
  readonly control: Control;
  readonly members: Members;
  readonly catalogue: SnapshotCatalogue;
  readonly traces: Traces;
  readonly traffic: Traffic;
  readonly jobs: Pick<Jobs, 'active'>;
}

/** Half as long as from one heartbeat to the next, with which its figures come. */
const TOPOLOGY_MS = 2_000;
const MAX_FEEDS = 4_000;
const MAX_PARTS = 1_000;
const MAX_HOSTS_OF_PART = 500;
const NO_LABELS: HostEntry['labels'] = {};
const NO_ROLES: HostEntry['roles'] = [];
/** How any start is called of which nothing else is known. */
const ANY_START = `sha256:${'0'.repeat(64)}` as Digest;

/** The cluster as people look at it: documents of the API from what the supernode has in memory. */
export class Views {
  readonly #modules: ViewsModules;
  #topology: { readonly atMs: number; readonly document: TopologyDocument } | undefined;

  constructor(modules: ViewsModules) {
    this.#modules = modules;
  }

  /** In the order of their names and peers. */
  hosts(): HostEntry[] {
    const { members, control } = this.#modules;
    const quarantined = members.quarantined(Date.now());
    return members.list().map((member) => {
      const { peer, name } = member;
      const { labels = NO_LABELS, roles = NO_ROLES } = control.swarm.hosts.get(peer) ?? {};
      const state = this.#stateOf(member, quarantined);
      return { peer, name, state, labels, roles, document: () => this.#host(member, quarantined) };
    });
  }

  host(peer: PeerId): HostDocument | undefined {
    const { members } = this.#modules;
    const member = members.find(peer);
    return member && this.#host(member, members.quarantined(Date.now()));
  }

  overview(): OverviewDocument {
    const { control, catalogue, traffic, jobs } = this.#modules;
    const hosts = { connected: 0, away: 0, quarantined: 0, revoked: 0 };
    const quarantined = this.#modules.members.quarantined(Date.now());
    for (const member of this.#modules.members.list()) hosts[this.#stateOf(member, quarantined)] += 1;
    const now = traffic.history.at(-1);
    const { recent, ...starts } = traffic.starts();
    return {
      hosts,
      traffic: {
        upstreamBytes: traffic.upstreamBytes,
        peerBytes: traffic.peerBytes,
        upstreamBytesPerSecond: now?.upstreamBytesPerSecond ?? 0,
        peerBytesPerSecond: now?.peerBytesPerSecond ?? 0,
      },
      history: [...traffic.history],
      starts: { ...starts, recent: [...recent] },
      jobs: { active: jobs.active },
      snapshots: catalogue.size,
      blobs: control.swarm.blobs.size,
    };
  }

  /** As it was within the last two seconds: of many hosts it is large. */
  topology(): TopologyDocument {
    const nowMs = clockMs();
    if (this.#topology === undefined || nowMs - this.#topology.atMs >= TOPOLOGY_MS)
      this.#topology = { atMs: nowMs, document: writtenOnce(this.#topologyNow()) };
    return this.#topology.document;
  }

  #topologyNow(): TopologyDocument {
    const { control, traffic } = this.#modules;
    const hosts = [...control.swarm.hosts.values()].map(({ peer, name, labels, roles }) => {
      const { sentBytesPerSecond, receivedBytesPerSecond } = traffic.ratesOf(peer);
      return {
        peer,
        name,
        labels: { ...labels },
        roles: [...roles],
        sentBytesPerSecond,
        receivedBytesPerSecond,
      };
    });
    return { hosts, feeds: traffic.feeds(MAX_FEEDS) };
  }

  *blobs(): Generator<{ readonly key: string; document(): BlobDocument }> {
    for (const blob of this.#modules.control.swarm.blobs)
      yield {
        key: `${blobKeyOf(blob.name)}@${blob.sizeBytes}@${blob.pieces}`,
        document: () => blobDocument(blob),
      };
  }

  blob(digest: Digest): BlobDetailDocument[] {
    return Array.from(this.#modules.control.swarm.swarmsOf(digest), (blob) => ({
      ...blobDocument(blob),
      parts: [...blob.parts.entries().take(MAX_PARTS)].map(([peer, part]) => ({
        peer,
        name: this.#nameOf(peer),
        havePieces: part.havePieces,
        wants: part.wants,
        map: isSeed(blob, part) ? 'f'.repeat(16) : hexOf(part.cells),
      })),
    }));
  }

  snapshots(options: Parameters<ApiModules['snapshots']>[0]): ReturnType<ApiModules['snapshots']> {
    const { items, next } = this.#modules.catalogue.page(options);
    return { next, items: items.map(snapshotDocument) };
  }

  snapshot(manifest: Digest): SnapshotDetailDocument | undefined {
    const { catalogue, control, traces } = this.#modules;
    const known = catalogue.findAny(manifest);
    if (known === undefined) return undefined;
    const message = fromBinary(SnapshotMessageSchema, known.message);
    const learned = decodeTrace(traces.learned({ layout: known.layout, startKey: ANY_START }));
    return {
      ...snapshotDocument(known),
      layers: layersOf(message).map(({ digest, size }) => ({ digest, sizeBytes: size })),
      parts: known.blobs.map((blob, index) => ({
        kind: index === 0 ? 'meta' : 'device',
        slot: Math.max(0, index - 1),
        digest: blob.name.digest,
        sizeBytes: blob.sizeBytes,
        pieces: blob.pieces,
        sharedWith: catalogue.sharing(blob.name.digest, known.manifest),
        hosts: this.#residency(control.swarm.find(blob)),
      })),
      prefetch: learned.map(({ device, offset, length }) => ({ device, offset, length })),
    };
  }

  #stateOf({ peer, revokedAtMs }: Member, quarantined: ReadonlyMap<PeerId, number>): HostDocument['state'] {
    if (revokedAtMs !== null) return 'revoked';
    if (quarantined.has(peer)) return 'quarantined';
    return this.#modules.control.swarm.hosts.has(peer) ? 'connected' : 'away';
  }

  #host(member: Member, quarantined: ReadonlyMap<PeerId, number>): HostDocument {
    const { peer, name, seenAtMs } = member;
    const { swarm } = this.#modules.control;
    const host = swarm.hosts.get(peer);
    return {
      peer,
      name,
      state: this.#stateOf(member, quarantined),
      dataAddress: host?.dataAddress ?? null,
      labels: { ...host?.labels },
      roles: [...(host?.roles ?? [])],
      uploads: host?.uploads ?? 0,
      uploadSlots: host?.uploadSlots ?? 0,
      blobs: swarm.blobsOf(peer),
      heardAtMs: host === undefined ? seenAtMs : Date.now() - (clockMs() - host.heardAtMs),
      quarantinedUntilMs: quarantined.get(peer) ?? null,
    };
  }

  #nameOf(peer: PeerId): string {
    return this.#modules.control.swarm.hosts.get(peer)?.name ?? peer;
  }

  #residency(blob: BlobSwarm | undefined) {
    if (blob === undefined) return [];
    return [...blob.parts.entries().take(MAX_HOSTS_OF_PART)].map(([peer, { havePieces }]) => ({
      peer,
      name: this.#nameOf(peer),
      residency: Math.min(1, havePieces / blob.pieces),
    }));
  }
}

function blobDocument(blob: BlobSwarm): BlobDocument {
  let [seeds, children] = [0, 0];
  for (const part of blob.parts.values()) {
    if (isSeed(blob, part)) seeds += 1;
    if (part.wants) children += 1;
  }
  const { name, sizeBytes, pieces, origins } = blob;
  const readers = [...origins.keys()];
  return { digest: name.digest, origin: name.origin, sizeBytes, pieces, seeds, children, readers };
}

function snapshotDocument(known: ListedSnapshot) {
  const {
    registry,
    repository,
    platform,
    root,
    manifest,
    layout,
    builder,
    announcer,
    pushed,
    blobs,
    usedAtMs,
  } = known;
  return {
    ...{ registry, repository, platform, root, manifest, layout, builder, announcer, pushed, usedAtMs },
    sizeBytes: blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    devices: blobs.length - 1,
  };
}

/** Of the image manifest, which is the last of its documents. */
function layersOf({ documents }: SnapshotMessage): Manifest['layers'] {
  const last = documents.at(-1);
  const document = last === undefined ? undefined : parseManifestDocument(last);
  return document?.kind === 'manifest' ? document.manifest.layers : [];
}

const hexOf = (cells: bigint): string | null => (cells === 0n ? null : cells.toString(16).padStart(16, '0'));
