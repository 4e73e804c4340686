import { blobKeyOf, DrakkarError, type HostPort, type PeerId, toDrakkarError } from '@drakkar/protocol';
import { type ControlNode, HAVE_PROTOCOL } from '@drakkar/wire';
import type { Log } from '../snapshots/modules.ts';
import type { BlobShape } from './fetcher.ts';
import { HaveSession } from './have-session.ts';
import type { Standing } from './standing.ts';

export interface IntroductionsModules {
  readonly node: ControlNode;
  readonly standing: Standing;
  readonly log: Log;
}

/** What there is to say to and about those that are asked. */
export interface Introducer {
  /** Whether a stream to the peer is wanted, and there is none. */
  wants(peer: PeerId): boolean;
  /** Whether one that was opened is of use: the peer may have opened another. */
  keeps(peer: PeerId): boolean;
  /** The first word. */
  open(session: HaveSession): void;
  /** Both sides have opened. Returns when the session has ended. */
  serve(session: HaveSession): Promise<void>;
  /** It says what no peer says. */
  shun(peer: PeerId): void;
  /** It cannot be asked. @param hangsUp it was reached, and did not want to talk */
  failed(peer: PeerId, hangsUp: boolean): void;
}

const OPEN_MS = 3_000;

/** Streams about one blob that this host opens to others, until both sides have said who they are. */
export class Introductions {
  readonly #blob: BlobShape;
  readonly #modules: IntroductionsModules;
  readonly #introducer: Introducer;
  readonly #opening = new Set<PeerId>();

  constructor(blob: BlobShape, modules: IntroductionsModules, introducer: Introducer) {
    this.#blob = blob;
    this.#modules = modules;
    this.#introducer = introducer;
  }

  /** How many have not answered yet. */
  get size(): number {
    return this.#opening.size;
  }

  has(peer: PeerId): boolean {
    return this.#opening.has(peer);
  }

  begin(
    peer: PeerId,
    addresses: readonly HostPort[],
    failed = (hangsUp: boolean) => this.#introducer.failed(peer, hangsUp),
  ): void {
    if (this.#opening.has(peer) || !this.#introducer.wants(peer)) return;
    this.#opening.add(peer);
    void this.#meet(peer, addresses).catch((cause: unknown) => {
      const error = toDrakkarError(cause, 'unavailable');
      if (error.code === 'invalid_content') this.#introducer.shun(peer);
      failed(error.code === 'not_found');
      this.#modules.log.debug({ peer, error }, 'a peer cannot be asked about a blob');
    });
  }

  async #meet(peer: PeerId, addresses: readonly HostPort[]): Promise<void> {
    let session: HaveSession;
    try {
      session = await this.#dial(peer, addresses);
    } finally {
      this.#opening.delete(peer);
    }
    if (this.#introducer.keeps(peer)) await this.#introducer.serve(session);
    else session.close();
  }

  async #dial(peer: PeerId, addresses: readonly HostPort[]): Promise<HaveSession> {
    const { node, standing } = this.#modules;
    const { name, cut } = this.#blob;
    const limit = AbortSignal.timeout(OPEN_MS);
    const session = new HaveSession(await node.open(peer, addresses, HAVE_PROTOCOL, limit));
    this.#introducer.open(session);
    try {
      const { blob, membership, sizeBytes } = await session.opening();
      standing.requireMember(membership, peer);
      if (blobKeyOf(blob) !== blobKeyOf(name))
        throw new DrakkarError('invalid_content', 'the peer speaks of another blob');
      if (sizeBytes !== cut.sizeBytes)
        throw new DrakkarError('invalid_content', 'the peer has another size of the blob');
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }
}
