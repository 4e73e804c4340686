import { chanceOf, numberOf } from './chance.ts';
import type { PeerId } from './identity.ts';

/**
 * Which of some peers a digest or a name belongs to: all who know the same peers say the same, each peer has about as much, and when one
 * comes or goes only what is its own moves. Source: rendezvous hashing, Thaler and Ravishankar 1998.
 */
export function ownerOf<Peer extends PeerId>(key: string, peers: Iterable<Peer>): Peer | undefined {
  const number = numberOf(key);
  let owner: Peer | undefined;
  let greatest = -1;
  for (const peer of peers) {
    const lot = chanceOf(number, numberOf(peer));
    if (lot < greatest || (lot === greatest && owner !== undefined && peer > owner)) continue;
    owner = peer;
    greatest = lot;
  }
  return owner;
}
