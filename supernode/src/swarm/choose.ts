import { hash } from 'node:crypto';
import type { PeerId } from '@drakkar/protocol';
import { type BlobSwarm, type Host, isSeed, type Part } from './state.ts';

/** What a choice depends on beside the blob's own swarm. Pure data. */
export interface Surroundings {
  readonly hosts: ReadonlyMap<PeerId, Host>;
  /** Who is nobody's parent at the moment, or not this child's. */
  readonly excluded: (parent: PeerId) => boolean;
  readonly localityLabels: readonly string[];
  readonly candidates: number;
}

/** What each property of a parent is worth; all are between 0 and 1. */
const WEIGHTS = { locality: 4, free: 2, useful: 2, chance: 1 };

/** Of so many candidates one is taken by chance alone, so that no part of a large swarm is cut off from the rest. */
const ONE_BY_CHANCE_IN = 4;

/**
 * Parents for a child, best first. A pure function of the swarm's state: it drops the child itself, those that are gone, excluded or
 * have nothing, and scores the others by where they are, how many of their upload slots are free and how much of the blob they
 * have. What remains equal is decided by a hash of both names, so that children spread over equal parents.
 */
export function choose(child: PeerId, swarm: BlobSwarm, around: Surroundings): PeerId[] {
  const labels = around.hosts.get(child)?.labels ?? {};
  const scored: { parent: PeerId; score: number; chance: number }[] = [];
  for (const [parent, part] of swarm.parts) {
    const host = around.hosts.get(parent);
    if (parent === child || host === undefined || around.excluded(parent)) continue;
    // Who wants the blob, too, is worth knowing before it has anything: pieces come any moment.
    if (part.havePieces === 0 && !part.wants) continue;
    const chance = chanceOf(child, parent);
    scored.push({ parent, chance, score: scoreOf(host, part, swarm, labels, chance, around) });
  }
  scored.sort((a, b) => b.score - a.score);
  if (scored.length <= around.candidates) return scored.map(({ parent }) => parent);
  const byChance = Math.floor(around.candidates / ONE_BY_CHANCE_IN);
  const best = scored.slice(0, around.candidates - byChance);
  const rest = scored.slice(best.length).sort((a, b) => b.chance - a.chance);
  return [...best, ...rest.slice(0, byChance)].map(({ parent }) => parent);
}

function scoreOf(
  host: Host,
  part: Part,
  swarm: BlobSwarm,
  labels: Readonly<Record<string, string>>,
  chance: number,
  { localityLabels }: Surroundings,
): number {
  const free = Math.max(0, host.uploadSlots - host.uploads) / Math.max(1, host.uploadSlots);
  const useful = isSeed(swarm, part) ? 1 : part.havePieces / Math.max(1, swarm.pieces);
  // Far away and idle is better than next door and full.
  const locality = nearness(labels, host.labels, localityLabels) * (free > 0 ? 1 : 0);
  return (
    WEIGHTS.locality * locality + WEIGHTS.free * free + WEIGHTS.useful * useful + WEIGHTS.chance * chance
  );
}

/** 1 for who shares the first label, less for each that differs before one is shared, 0 for who shares none. Pure. */
export function nearness(
  one: Readonly<Record<string, string>>,
  other: Readonly<Record<string, string>>,
  localityLabels: readonly string[],
): number {
  const shared = localityLabels.findIndex((name) => one[name] !== undefined && one[name] === other[name]);
  return shared < 0 ? 0 : 1 - shared / localityLabels.length;
}

/** The same for the same two, and as if drawn by chance otherwise. */
function chanceOf(child: PeerId, parent: PeerId): number {
  return Number.parseInt(hash('sha1', `${child} ${parent}`, 'hex').slice(0, 8), 16) / 2 ** 32;
}
