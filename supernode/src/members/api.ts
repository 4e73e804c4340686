import type { PeerId } from '@drakkar/protocol';
import type { MembersApi } from '../api/index.ts';
import type { Control } from '../control/control.ts';
import type { Authority } from './authority.ts';
import { forget, forgetAway } from './forget.ts';
import type { Members } from './members.ts';

export interface MembersApiModules {
  readonly control: Control;
  readonly members: Members;
  readonly authority: Authority;
  readonly membershipMs: number;
  /** Where hosts reach this supernode, and the others where there are several. */
  addresses(): readonly [string, ...string[]];
  /** Gives a new key of the cluster to the other supernodes. */
  shareKey(name: string, text: string): Promise<void>;
}

/** What is done with hosts, and what lets them in; what is in the documents is for others to say. */
export function membersApi({
  control,
  members,
  authority,
  membershipMs,
  addresses,
  shareKey,
}: MembersApiModules): Omit<MembersApi, 'list' | 'find'> {
  const modules = { members, isConnected: (peer: PeerId) => control.isAdmitted(peer) };
  return {
    joinToken: () => {
      const [supernode] = addresses();
      return { supernode, supernodes: [...addresses()], joinToken: authority.joinToken() };
    },
    rotateJoinToken: async () => {
      authority.rotateSecret();
      await members.written();
    },
    rotateClusterKey: async () => {
      control.announceKey(await authority.rotateKey(Date.now(), shareKey));
      // A token names the key that it was made with.
      authority.rotateSecret();
      await members.written();
    },
    revoke: async (peer) => {
      const was = members.revoke(peer, Date.now(), Date.now() + membershipMs);
      if (was) control.revoke(peer);
      await members.written();
      return was;
    },
    forget: async (peer) => {
      forget(peer, modules);
      await members.written();
    },
    forgetAway: async (awayMs) => {
      const gone = forgetAway(awayMs, modules, Date.now());
      await members.written();
      return gone.map(({ peer, name }) => ({ peer, name }));
    },
  };
}
