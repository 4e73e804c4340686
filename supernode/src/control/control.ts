import {
  type BlobName,
  blobKeyOf,
  CLOCK_TOLERANCE_MS,
  type Digest,
  DrakkarError,
  type FromDaemon,
  type HeartbeatMessage,
  type PeerId,
} from '@drakkar/protocol';
import type { Tracing } from '@drakkar/service';
import { FEATURES, PROTOCOL_VERSION } from '@drakkar/wire';
import type { Logger } from 'pino';
import type { SupernodeConfig } from '../config.ts';
import { type Authority, revokedError } from '../members/authority.ts';
import type { Members } from '../members/members.ts';
import type { SupernodeMetrics } from '../metrics.ts';
import { Snapshots, type SnapshotsModules } from '../snapshots/snapshots.ts';
import { type NameAnswer, Names } from '../swarm/names.ts';
import { TURNS } from '../swarm/options.ts';
import type { Host } from '../swarm/state.ts';
import { type BlobSize, Swarm, type ToldBefore } from '../swarm/swarm.ts';
import { encodeCandidates, type FromSupernodeInit, namedMessage, supernodesMessage } from './messages.ts';
import type { Introduction, NameNews, Session, SessionEvents, TaskEvents } from './session.ts';

export interface ControlModules {
  readonly authority: Authority;
  readonly members: Members;
  readonly metrics: SupernodeMetrics;
  readonly log: Logger;
  readonly catalogue: SnapshotsModules['catalogue'];
  readonly traces: SnapshotsModules['traces'];
  readonly tracing: Tracing;
}

/** A supernode, as hosts are told of it. */
export interface ToldSupernode {
  /** `host:port/PEER` */
  readonly address: string;
  readonly serving: boolean;
}

/** Who gives hosts something to do, and looks at who is there. */
export interface HostEvents extends TaskEvents {
  /** A host has come, perhaps once more. */
  came(host: Host): void;
  left(peer: PeerId): void;
  /** What a host says of itself, again and again. */
  beat(peer: PeerId, heartbeat: HeartbeatMessage): void;
}

/** Nobody has anything to do for hosts. */
export const NOBODY: HostEvents = {
  came: () => {},
  left: () => {},
  beat: () => {},
  heard: () => {},
  firstPull: () => {},
};

const { adviceMs: ADVICE_MS, expiryMs: EXPIRY_MS } = TURNS;
/** What waits for others to come is looked at this often. */
const POSTPONED_MS = 50;
/** What a host that comes back costs: a handshake, and what it says, of which other hosts are to have their part. */
const RETURN_MS = 12;
const MOST_SPREAD_MS = 5 * 60_000;
const ADVICES_OF_ONE_TURN = 200;
const RENEWAL_MS = 60 * 60_000;

/** Goes on evenly, whatever is done to the clock on the wall. */
export const clockMs = (): number => performance.now();

/** Between the daemons' sessions and the swarm's state: turns messages into events, and advice into messages. */
export class Control implements SessionEvents, Disposable {
  readonly swarm: Swarm;
  readonly names = new Names();
  readonly snapshots: Snapshots;
  tasks: HostEvents = NOBODY;
  /** Of all of them, where there are several. */
  #supernodes: FromSupernodeInit | undefined;
  readonly #config: SupernodeConfig;
  readonly #modules: ControlModules;
  readonly #sessions = new Map<PeerId, Session>();
  readonly #expiry: NodeJS.Timeout;
  readonly #renewal: NodeJS.Timeout;
  readonly #reminder: NodeJS.Timeout;
  #advice: NodeJS.Timeout | undefined;
  /** When that timer fires. */
  #adviceAtMs = 0;
  #expiredAtMs = clockMs();

  constructor(config: SupernodeConfig, modules: ControlModules) {
    this.#config = config;
    this.#modules = modules;
    this.swarm = new Swarm(config.swarm);
    this.snapshots = new Snapshots(config.snapshots, { ...modules, swarm: this.swarm, now: clockMs });
    this.quarantined(modules.members.quarantined(Date.now()));
    this.#expiry = setInterval(() => this.#expire(), EXPIRY_MS);
    this.#renewal = setInterval(() => this.#renew(false), Math.min(RENEWAL_MS, config.membershipMs / 12));
    // A grant is given anew when half of its time is over, and then reaches its host before the rest is.
    this.#reminder = setInterval(
      () => {
        this.swarm.remind();
        this.#adviseSoon();
      },
      Math.min(RENEWAL_MS, config.grantMs / 4),
    );
  }

  traced({ message, traceparent }: FromDaemon, peer: PeerId, work: () => void): void {
    const name = `host says ${message.case ?? 'something else'}`;
    this.#modules.tracing.join(name, { traceparent, attributes: { peer } }, work);
  }

  enter(session: Session, introduction: Introduction): FromSupernodeInit {
    const nowMs = Date.now();
    const { authority, members, log } = this.#modules;
    const membership = authority.admit(introduction, nowMs);
    const { peer } = session;
    members.seen([peer], nowMs);
    this.#sessions.get(peer)?.refuse(new DrakkarError('busy', 'the same host has connected once more'));
    this.#sessions.set(peer, session);
    this.#answer(this.names.leave(peer, clockMs()));
    const { membership: _, joinSecret, ...host } = introduction;
    this.swarm.join(host, clockMs());
    const joined = this.swarm.hosts.get(peer);
    setImmediate(() => {
      // Once it is welcome.
      if (this.#supernodes !== undefined) session.send(this.#supernodes);
      if (joined !== undefined) this.tasks.came(joined);
    });
    log.info({ peer, host: host.name, enrolled: membership !== undefined }, 'a host has come');
    return {
      message: {
        case: 'welcome',
        value: {
          version: PROTOCOL_VERSION,
          features: FEATURES,
          membership: membership ?? '',
          successions: authority.successions,
          heartbeatMs: this.#config.swarm.heartbeatMs,
          localityLabels: [...this.#config.swarm.localityLabels],
          // Memberships and grants are believed for a while after they end.
          revoked: members.revoked(nowMs - this.#config.grantMs - 2 * CLOCK_TOLERANCE_MS),
          timeMs: BigInt(nowMs),
        },
      },
    };
  }

  leave(session: Session): void {
    const { peer } = session;
    if (this.#sessions.get(peer) !== session) return;
    this.#sessions.delete(peer);
    this.swarm.leave(peer);
    this.#answer(this.names.leave(peer, clockMs()));
    this.#modules.members.seen([peer], Date.now());
    this.#modules.log.info({ peer }, 'a host has gone');
    this.tasks.left(peer);
    this.#adviseSoon();
  }

  heartbeat(peer: PeerId, heartbeat: HeartbeatMessage): void {
    this.swarm.heartbeat(peer, heartbeat.uploads, clockMs());
    this.tasks.beat(peer, heartbeat);
    this.#sessions.get(peer)?.alive(Math.min(this.#sessions.size * RETURN_MS, MOST_SPREAD_MS));
  }

  want(peer: PeerId, blob: BlobSize, havePieces: number, before?: ToldBefore): void {
    this.#modules.log.debug({ peer, blob: blobKeyOf(blob.name), havePieces }, 'a host wants a blob');
    this.#announced(() => this.swarm.want(peer, blob, havePieces, clockMs(), before), peer);
  }

  have(peer: PeerId, blob: BlobSize, havePieces: number, cells: bigint): void {
    this.#announced(() => this.swarm.have(peer, blob, havePieces, clockMs(), cells), peer);
  }

  forget(peer: PeerId, blob: BlobName, what: { readonly want: boolean; readonly have: boolean }): void {
    this.#announced(() => this.swarm.forget(peer, blobKeyOf(blob), what), peer);
  }

  report(reporter: PeerId, accused: PeerId, blob: BlobName, piece: number): void {
    const nowMs = Date.now();
    const { members, metrics, log } = this.#modules;
    const verdict = this.swarm.report(reporter, accused, blobKeyOf(blob), clockMs());
    if (verdict === 'unfounded' || verdict === 'repeated') return;
    metrics.reports.inc();
    const quarantined = verdict === 'quarantined';
    log.warn({ reporter, accused, blob: blobKeyOf(blob), piece, quarantined }, 'a host was sent wrong bytes');
    if (quarantined) members.quarantine(accused, nowMs + this.#config.swarm.quarantineMs);
    this.#adviseSoon();
  }

  useless(reporter: PeerId, parent: PeerId, blob: BlobName): void {
    this.swarm.useless(reporter, parent, blobKeyOf(blob), clockMs());
    this.#adviseSoon();
  }

  originProgress(peer: PeerId, blob: BlobName, bytes: number): void {
    this.swarm.originProgress(peer, blobKeyOf(blob), bytes, clockMs());
  }

  originRelease(peer: PeerId, blob: BlobName): void {
    this.swarm.originRelease(peer, blobKeyOf(blob), clockMs());
    this.#adviseSoon();
  }

  name(peer: PeerId, key: Digest, news: NameNews): void {
    const nowMs = clockMs();
    switch (news.kind) {
      case 'asks':
        this.#answer(this.names.ask(peer, key, news.sizeBytes, nowMs));
        break;
      case 'reads':
        this.names.progress(peer, key, news.readBytes, nowMs);
        break;
      case 'tells':
        this.#answer(this.names.tell(peer, key, news.meaning));
        break;
      case 'gives up':
        this.#answer(this.names.giveUp(peer, key, nowMs));
        break;
    }
  }

  /** Tells everybody, and ends its session. */
  revoke(peer: PeerId): void {
    this.#tellAll({ message: { case: 'revoked', value: { peers: [peer] } } });
    this.snapshots.revoke(peer);
    const session = this.#sessions.get(peer);
    if (session === undefined) return;
    session.refuse(revokedError(peer));
    this.leave(session);
  }

  /**
   * Of all supernodes, now and whenever a host comes.
   * @param revision of the state that says so
   */
  tellSupernodes(supernodes: readonly ToldSupernode[], revision: number): void {
    this.#supernodes = supernodesMessage(supernodes, revision);
    this.#tellAll(this.#supernodes);
  }

  /** As was found before, or by another supernode. @param all until when, by the clock on the wall */
  quarantined(all: ReadonlyMap<PeerId, number>): void {
    for (const [peer, untilMs] of all)
      if (!this.swarm.isQuarantined(peer, clockMs()))
        this.swarm.quarantine(peer, untilMs - Date.now() + clockMs());
    this.#adviseSoon();
  }

  /** Says something to one host, where it is connected. */
  send(peer: PeerId, message: FromSupernodeInit): void {
    this.#sessions.get(peer)?.send(message);
  }

  /** Whether a peer has a session: who has none has no business here. */
  isAdmitted(peer: PeerId): boolean {
    return this.#sessions.has(peer);
  }

  /** Tells everybody of a new key of the cluster, and gives everybody a membership that it has signed. */
  announceKey(succession: string): void {
    this.#tellAll({ message: { case: 'clusterKey', value: { succession, membership: '' } } });
    this.#renew(true);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#expiry);
    clearInterval(this.#renewal);
    clearInterval(this.#reminder);
    clearTimeout(this.#advice);
    this.#modules.members.seen(this.#sessions.keys(), Date.now());
    // Sessions that end after this have nobody left to tell.
    this.#sessions.clear();
  }

  #answer(answers: readonly NameAnswer[]): void {
    for (const answer of answers) this.#sessions.get(answer.to)?.send(namedMessage(answer));
  }

  #tellAll(message: FromSupernodeInit): void {
    for (const session of this.#sessions.values()) session.send(message);
  }

  /** What one host says wrong or too much is no reason to do without it, and none of the others' business. */
  #announced(announce: () => void, peer: PeerId): void {
    this.#modules.metrics.announcements.inc();
    try {
      announce();
    } catch (error) {
      this.#modules.log.debug({ peer, error }, 'an announcement is ignored');
    }
    this.#adviseSoon();
  }

  #adviseSoon(delayMs = ADVICE_MS): void {
    const dueAtMs = clockMs() + delayMs;
    if (this.#advice !== undefined && this.#adviceAtMs <= dueAtMs) return;
    clearTimeout(this.#advice);
    this.#adviceAtMs = dueAtMs;
    this.#advice = setTimeout(() => {
      this.#advice = undefined;
      this.#advise();
    }, delayMs);
  }

  #advise(): void {
    const nowMs = Date.now();
    const { authority, metrics } = this.#modules;
    const ended = metrics.adviceSeconds.startTimer();
    const advices = this.swarm.advise(clockMs(), ADVICES_OF_ONE_TURN);
    const grants = authority.grants(
      advices.map(({ to, blob }) => ({ peer: to, blob })),
      nowMs,
    );
    for (const [index, { to, blob, parents, seeds, origin }] of advices.entries()) {
      metrics.decisions.inc();
      const rest = { grant: grants[index] ?? '', upstream: origin };
      this.#sessions.get(to)?.sendEncoded(encodeCandidates(blob, rest, parents, seeds));
    }
    ended();
    // Sockets are read in between.
    if (this.swarm.isStale) this.#adviseSoon(0);
    else if (this.swarm.isWaiting) this.#adviseSoon(POSTPONED_MS);
  }

  #expire(): void {
    const nowMs = clockMs();
    const lateMs = nowMs - this.#expiredAtMs - EXPIRY_MS;
    this.#expiredAtMs = nowMs;
    // When this process was held up, heartbeats wait to be read.
    if (lateMs > EXPIRY_MS) return;
    for (const peer of this.swarm.expire(nowMs)) {
      this.#modules.log.warn({ peer }, 'a host is silent');
      this.#modules.members.seen([peer], Date.now());
      this.#sessions.get(peer)?.refuse(new DrakkarError('timeout', 'no heartbeat came'));
      this.#sessions.delete(peer);
      this.#answer(this.names.leave(peer, nowMs));
      this.tasks.left(peer);
    }
    this.#answer(this.names.expire(nowMs));
    this.#adviseSoon();
  }

  #renew(everybody: boolean): void {
    const nowMs = Date.now();
    const { members, authority } = this.#modules;
    members.seen(this.#sessions.keys(), nowMs);
    this.#modules.catalogue.expire(nowMs);
    for (const [peer, session] of this.#sessions) {
      const member = members.find(peer);
      if (member === undefined || member.revokedAtMs !== null) continue;
      if (!everybody && member.expiresAtMs - nowMs > this.#config.membershipMs / 3) continue;
      const membership = authority.issue(member, nowMs);
      session.send({ message: { case: 'clusterKey', value: { succession: '', membership } } });
    }
  }
}
