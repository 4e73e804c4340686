import type { Issue } from '../documents.ts';

/** Where in a request each field of a form may stand: `target/role`, without the part that all have. */
export type Places<Field extends string> = Readonly<Record<Field, readonly string[]>>;

export type FieldErrors<Field extends string> = Readonly<Partial<Record<Field, string>>>;

export interface SortedIssues<Field extends string> {
  readonly fields: FieldErrors<Field>;
  /** What is of no field. */
  readonly others: readonly Issue[];
}

/** What the supernode says of each field. @param root of the places, as `body` */
export function sortIssues<Field extends string>(
  issues: readonly Issue[],
  root: string,
  places: Places<Field>,
): SortedIssues<Field> {
  const fields: Partial<Record<Field, string>> = {};
  const others: Issue[] = [];
  const known = (Object.entries(places) as [Field, readonly string[]][]).flatMap(([field, within]) =>
    within.map((place) => ({ field, place: `${root}/${place}/` })),
  );
  for (const issue of issues) {
    const found = known.find(({ place }) => `${issue.path}/`.startsWith(place));
    if (found === undefined) others.push(issue);
    else fields[found.field] ??= wordsOf(issue, found.place);
  }
  return { fields, others };
}

/** Of a list, people count from 1. */
function wordsOf({ path, message }: Issue, place: string): string {
  const [part = ''] = path.slice(place.length).split('/');
  const number = /^[0-9]+$/.test(part) ? `${Number(part) + 1}: ` : '';
  return `${number}${message}`;
}

/** What is no number is left to the supernode to refuse; nothing stands for `empty`. */
export function numberOf<Empty>(text: string, empty: Empty, unit = 1): number | string | Empty {
  const written = text.trim();
  if (written === '') return empty;
  const value = Number(written) * unit;
  return Number.isFinite(value) ? (unit === 1 ? value : Math.round(value)) : written;
}
