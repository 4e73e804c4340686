import type { Host } from '../documents.ts';
import { ago, clock } from '../format.ts';

/** How a host is, and what a person can do about it. */
export interface Health {
  readonly what: string;
  readonly todo: string | null;
}

export function healthOf(host: Host, nowMs: number): Health {
  switch (host.state) {
    case 'connected':
      return { what: `Heard ${ago(host.heardAtMs, nowMs)}.`, todo: null };
    case 'away':
      return {
        what: `Away since ${clock(host.heardAtMs, nowMs)}, ${ago(host.heardAtMs, nowMs)}.`,
        todo: 'See on the host whether the daemon runs: drakkar doctor. Forget the host if it is gone for good.',
      };
    case 'quarantined':
      return {
        what: quarantineOf(host, nowMs),
        todo: 'Check its disk and memory before it serves again: drakkar doctor.',
      };
    case 'revoked':
      return {
        what: 'Its membership has ended. It gets nothing from other hosts.',
        todo: 'To have it back, remove its keys/peer.pem and let it enrol again with a join token.',
      };
  }
}

function quarantineOf({ quarantineReason, quarantinedUntilMs }: Host, nowMs: number): string {
  const why = quarantineReason ?? 'Other hosts have reported that it sent wrong bytes';
  const until =
    quarantinedUntilMs === undefined || quarantinedUntilMs === null
      ? 'It serves nobody until the quarantine ends'
      : `It serves nobody until ${clock(quarantinedUntilMs, nowMs)}`;
  return `${why.replace(/\.$/, '')}. ${until}.`;
}

/** Where a host stands, by its labels. */
export const placeOf = (labels: Readonly<Record<string, string>>): { zone: string; rack: string } => ({
  zone: labels.zone ?? labels.region ?? '',
  rack: labels.rack ?? '',
});
