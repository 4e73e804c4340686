import type { Receipt } from '@drakkar/client';
import { formatBytes } from './format.ts';

/** Where bytes came from, in words. Pure. */
export function describeReceipt(
  { upstreamBytes, peerBytes, storeBytes }: Receipt,
  upstream = 'the registry',
): string {
  const peers = peerBytes > 0 ? `${formatBytes(peerBytes)} from other hosts, ` : '';
  return `${peers}${formatBytes(upstreamBytes)} from ${upstream}, ${formatBytes(storeBytes)} from the store`;
}
