import { chanceOf, distance, numberOf, type PeerId } from '@drakkar/protocol';
import { type BlobSwarm, type Host, isSeed, type Part } from './state.ts';

/** What a choice depends on beside the blob's own swarm. */
export interface Surroundings {
  readonly localityLabels: readonly string[];
  readonly candidates: number;
}

/** What each property of a parent is worth; all are between 0 and 1. */
const WEIGHTS = { locality: 4, free: 2, useful: 2, chance: 1 };

/** Of so many candidates one is taken by chance alone, so that no part of a large swarm is cut off from the rest. */
const ONE_BY_CHANCE_IN = 4;

/** Of a large swarm so many are looked at for each child: some that have all, some that are near, some by chance. */
const LOOKED_AT = { seeds: 24, near: 32, any: 32 };

interface Entry {
  readonly peer: PeerId;
  readonly number: number;
  readonly host: Host;
  readonly part: Part;
}

/**
 * Parents for the children of one blob. A function of the swarm's state as it is when this is made: it drops the child itself, those that
 * are gone, excluded or have nothing, and scores the others by where they are, how many of their upload slots are free and how much of
 * the blob they have. What remains equal is decided by a number of both names, so that children spread over equal parents.
 */
export class Choice {
  readonly #swarm: BlobSwarm;
  readonly #around: Surroundings;
  readonly #hosts: ReadonlyMap<PeerId, Host>;
  readonly #all: Entry[] = [];
  readonly #seeds: Entry[] = [];
  /** By label and value, of the labels that say where a host is. */
  readonly #near = new Map<string, Entry[]>();

  constructor(swarm: BlobSwarm, hosts: ReadonlyMap<PeerId, Host>, around: Surroundings) {
    this.#swarm = swarm;
    this.#around = around;
    this.#hosts = hosts;
    for (const [peer, part] of swarm.parts) {
      const host = hosts.get(peer);
      // Who wants the blob, too, is worth knowing before it has anything: pieces come any moment.
      if (host === undefined || (part.havePieces === 0 && !part.wants)) continue;
      const entry = { peer, host, part, number: numberOf(peer) };
      this.#all.push(entry);
      if (isSeed(swarm, part)) this.#seeds.push(entry);
      for (const label of around.localityLabels) {
        const value = host.labels[label];
        if (value === undefined) continue;
        const key = `${label}=${value}`;
        const near = this.#near.get(key) ?? [];
        near.push(entry);
        this.#near.set(key, near);
      }
    }
  }

  /** Best first. @param excluded who is nobody's parent at the moment, or not this child's */
  of(child: PeerId, excluded: (parent: PeerId) => boolean): PeerId[] {
    const labels = this.#hosts.get(child)?.labels ?? {};
    const number = numberOf(child);
    const scored: { parent: PeerId; score: number; chance: number }[] = [];
    for (const { peer, host, part, number: other } of this.#lookedAt(labels, number)) {
      if (peer === child || excluded(peer)) continue;
      const chance = chanceOf(number, other);
      scored.push({
        parent: peer,
        chance,
        score: scoreOf(host, part, this.#swarm, labels, chance, this.#around),
      });
    }
    scored.sort((a, b) => b.score - a.score);
    const { candidates } = this.#around;
    if (scored.length <= candidates) return scored.map(({ parent }) => parent);
    const byChance = Math.floor(candidates / ONE_BY_CHANCE_IN);
    const best = scored.slice(0, candidates - byChance);
    const rest = scored.slice(best.length).sort((a, b) => b.chance - a.chance);
    return [...best, ...rest.slice(0, byChance)].map(({ parent }) => parent);
  }

  #lookedAt(labels: Readonly<Record<string, string>>, number: number): Iterable<Entry> {
    if (this.#all.length <= LOOKED_AT.seeds + LOOKED_AT.near + LOOKED_AT.any) return this.#all;
    const chosen = new Set<Entry>(slice(this.#seeds, number, LOOKED_AT.seeds));
    for (const label of this.#around.localityLabels) {
      const value = labels[label];
      if (value === undefined) continue;
      for (const entry of slice(this.#near.get(`${label}=${value}`) ?? [], number, LOOKED_AT.near))
        chosen.add(entry);
    }
    for (const entry of slice(this.#all, number, LOOKED_AT.any)) chosen.add(entry);
    return chosen;
  }
}

/** So many of them, from a place on that follows from the number. */
function* slice(entries: readonly Entry[], number: number, count: number): Generator<Entry> {
  const start = number % Math.max(1, entries.length);
  for (let index = 0; index < Math.min(count, entries.length); index += 1) {
    const entry = entries[(start + index) % entries.length];
    if (entry !== undefined) yield entry;
  }
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
  const near = 1 - distance(labels, host.labels, localityLabels) / localityLabels.length;
  const locality = near * (free > 0 ? 1 : 0);
  return (
    WEIGHTS.locality * locality + WEIGHTS.free * free + WEIGHTS.useful * useful + WEIGHTS.chance * chance
  );
}
