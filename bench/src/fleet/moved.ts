import type { Moved, Sample } from '../runner/samples.ts';
import type { Fleet, FleetHost } from './fleet.ts';
import type { Place } from './network.ts';

/** What has come to a host since it, and its daemon, began. */
export async function movedTo(host: FleetHost): Promise<Moved> {
  const [linkBytes, { traffic, swarm }] = await Promise.all([
    placeOf(host).receivedBytes(),
    host.client.status(),
  ]);
  return { linkBytes, upstreamBytes: traffic.upstreamBytes, peerBytes: swarm?.receivedBytes ?? 0 };
}

/** A start, and what had come to the host when it said something. */
export async function countedStart(
  counters: () => Promise<Moved>,
  start: (atOutput: () => Promise<void>) => Promise<number>,
): Promise<Sample> {
  const before = await counters();
  let after = before;
  const wallMs = await start(async () => {
    after = await counters();
  });
  return { wallMs, moved: movedBetween(before, after) };
}

/** What came in between. */
export function movedBetween(before: Moved, after: Moved): Moved {
  const linkBytes = after.linkBytes - before.linkBytes;
  if (after.upstreamBytes === undefined || after.peerBytes === undefined) return { linkBytes };
  return {
    linkBytes,
    upstreamBytes: after.upstreamBytes - (before.upstreamBytes ?? 0),
    peerBytes: after.peerBytes - (before.peerBytes ?? 0),
  };
}

/** @throws for a host that is in no namespace */
export function placeOf(host: FleetHost | undefined): Place {
  if (host?.place === undefined) throw new Error('a host without a place');
  return host.place;
}

/** What all hosts have read upstream so far. */
export async function upstreamBytesOf({ hosts }: Fleet): Promise<number> {
  const each = await Promise.all(
    hosts.map(async ({ client }) => (await client.status()).traffic.upstreamBytes),
  );
  return each.reduce((sum, bytes) => sum + bytes, 0);
}
