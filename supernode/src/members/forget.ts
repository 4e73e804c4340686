import { DrakkarError, type PeerId } from '@drakkar/protocol';
import type { Member, Members } from './members.ts';

export interface ForgetModules {
  readonly members: Pick<Members, 'find' | 'list' | 'forget'>;
  isConnected(peer: PeerId): boolean;
}

/**
 * Takes a host that is gone for good off the list. Its membership is good until it ends: should the host come back, it is a
 * member again.
 *
 * @throws `not_found`; `busy` while it is connected; `forbidden` for one that was revoked: it could enrol once more
 */
export function forget(peer: PeerId, { members, isConnected }: ForgetModules): void {
  const member = members.find(peer);
  if (member === undefined) throw new DrakkarError('not_found', `${peer} is no member`);
  if (isConnected(peer)) {
    throw new DrakkarError('busy', `${member.name} is connected`, {
      hint: 'stop its daemon first, or end its membership with `drakkar supernode revoke`',
    });
  }
  if (member.revokedAtMs !== null) {
    throw new DrakkarError('forbidden', `${member.name} was revoked`, {
      hint: 'it stays known, so that it stays out',
    });
  }
  members.forget(peer);
}

/** Forgets all that nothing was heard of for so long. @returns whom */
export function forgetAway(awayMs: number, { members, isConnected }: ForgetModules, nowMs: number): Member[] {
  const gone = members
    .list()
    .filter(
      ({ peer, revokedAtMs, seenAtMs }) =>
        revokedAtMs === null && !isConnected(peer) && nowMs - seenAtMs >= awayMs,
    );
  for (const { peer } of gone) members.forget(peer);
  return gone;
}
