import type { ResourcePath } from './contract.ts';

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = new RegExp(`^${LABEL}(\\.${LABEL})*$`);
const MAX_SUBDOMAIN = 253;

/**
 * Whether an object of most kinds can have this name: the API server does not look at all that name one.
 * Source: Kubernetes, “Object Names and IDs”, DNS subdomain names.
 */
export const isSubdomain = (name: string): boolean => name.length <= MAX_SUBDOMAIN && SUBDOMAIN.test(name);

/** A path, each part that is put into it one segment whatever it holds. */
export function pathOf(
  [begin = '', ...rest]: TemplateStringsArray,
  ...segments: readonly string[]
): ResourcePath {
  const ends = segments.map((segment, index) => encodeURIComponent(segment) + rest[index]);
  return [begin, ...ends].join('') as ResourcePath;
}
