import type { Blob, Host, Job, Snapshot } from '../documents.ts';
import { labelsText, shortDigest, shortPeer } from '../format.ts';
import { routeHref } from '../route.ts';
import { subjectOf } from './jobs.ts';

/** Something that was found, and where it is. */
export interface Hit {
  readonly kind: 'host' | 'snapshot' | 'job' | 'blob';
  readonly title: string;
  readonly detail: string;
  readonly href: string;
}

export interface Searched {
  readonly hosts: readonly Host[];
  readonly snapshots: readonly Snapshot[];
  readonly jobs: readonly Job[];
  readonly blobs: readonly Blob[];
}

/** Of each kind. */
const MOST = 5;

export const imageOf = ({ registry, repository }: Pick<Snapshot, 'registry' | 'repository'>): string =>
  `${registry}/${repository}`;

/** What holds all words of a query, wherever they stand. */
export function search(query: string, { hosts, snapshots, jobs, blobs }: Searched): Hit[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const found = <Item>(
    items: readonly Item[],
    text: (item: Item) => string,
    hit: (item: Item) => Hit,
  ): Hit[] =>
    items
      .filter((item) => words.every((word) => text(item).toLowerCase().includes(word)))
      .slice(0, MOST)
      .map(hit);
  return [
    ...found(
      hosts,
      ({ name, peer, labels }) => `${name} ${peer} ${labelsText(labels)}`,
      ({ name, peer, labels, state }) => ({
        kind: 'host',
        title: name,
        detail: [state, labelsText(labels) || shortPeer(peer)].join(' · '),
        href: routeHref('hosts', { id: peer }),
      }),
    ),
    ...found(
      snapshots,
      (snapshot) => `${imageOf(snapshot)} ${snapshot.manifest} ${snapshot.root} ${snapshot.platform}`,
      (snapshot) => ({
        kind: 'snapshot',
        title: imageOf(snapshot),
        detail: `${snapshot.platform} · ${shortDigest(snapshot.manifest)}`,
        href: routeHref('snapshots', { id: snapshot.manifest }),
      }),
    ),
    ...found(
      jobs,
      (job) => `${job.spec.kind} ${subjectOf(job)} ${job.id} ${job.state}`,
      (job) => ({
        kind: 'job',
        title: `${job.spec.kind} ${subjectOf(job)}`,
        detail: job.state,
        href: routeHref('jobs', { id: job.id }),
      }),
    ),
    ...found(
      blobs,
      ({ digest, origin }) => `${digest} ${origin}`,
      ({ digest, origin }) => ({
        kind: 'blob',
        title: shortDigest(digest),
        detail: origin,
        href: routeHref('blobs', { id: digest }),
      }),
    ),
  ];
}
