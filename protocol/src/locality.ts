/** What a host says of where it is, and anything else. */
export type Labels = Readonly<Record<string, string>>;

const LIMITS = { labels: 64, characters: 255 };

/** Whether they are no more and no longer than anybody's are. */
export function areLabels(labels: Labels): boolean {
  const entries = Object.entries(labels);
  return entries.length <= LIMITS.labels && entries.flat().every(({ length }) => length <= LIMITS.characters);
}

/** The labels that say where a host is, the narrowest first. */
export const LOCALITY_LABELS: readonly string[] = ['host', 'rack', 'zone', 'region'];

/** How many places two hosts do not share before one that they do: 0 for the narrowest, as many as there are for none. */
export function distance(one: Labels, other: Labels, places = LOCALITY_LABELS): number {
  const shared = places.findIndex((name) => one[name] !== undefined && one[name] === other[name]);
  return shared < 0 ? places.length : shared;
}

/** What a host does for the cluster beyond its own containers: a seed keeps content for others, a builder builds snapshots. */
export const ROLES = ['seed', 'builder'] as const;
export type Role = (typeof ROLES)[number];
