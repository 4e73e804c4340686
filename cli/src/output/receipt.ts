import type { Receipt } from '@drakkar/client';
import { formatBytes, formatCount, formatDuration } from './format.ts';

const NAMED_PEERS = 3;

/** Where bytes came from, in words. Pure. */
export function describeReceipt(
  { upstreamBytes, peerBytes, joinedBytes, storeBytes }: Receipt,
  upstream = 'the registry',
): string {
  const peers = peerBytes > 0 ? `${formatBytes(peerBytes)} from other hosts, ` : '';
  const joined = joinedBytes > 0 ? `, ${formatBytes(joinedBytes)} with another request` : '';
  return `${peers}${formatBytes(upstreamBytes)} from ${upstream}, ${formatBytes(storeBytes)} from the store${joined}`;
}

/** How they came, in words. Pure. */
export function describeFlow({ firstByteMs, stalls, discardedBytes, peers }: Receipt): string {
  const named = peers
    .slice(0, NAMED_PEERS)
    .map(({ peer, name, bytes }) => `${name ?? peer} ${formatBytes(bytes)}`);
  const others = peers.length - named.length;
  if (others > 0) named.push(`and ${formatCount(others, 'other')}`);
  return [
    firstByteMs === null ? 'no byte came' : `first byte after ${formatDuration(firstByteMs)}`,
    stalls === 0 ? 'no stalls' : formatCount(stalls, 'stall'),
    ...(discardedBytes > 0 ? [`${formatBytes(discardedBytes)} thrown away`] : []),
    ...(peers.length > 0 ? [`${formatCount(peers.length, 'host')}: ${named.join(', ')}`] : []),
  ].join(', ');
}
