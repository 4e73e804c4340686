import { signal } from '@preact/signals';
import { parseRoute, routeHref } from './route.ts';

/** Where one is now. */
export const route = signal(parseRoute(location.hash));

addEventListener('hashchange', () => {
  route.value = parseRoute(location.hash);
});

export function goTo(...to: Parameters<typeof routeHref>): void {
  location.hash = routeHref(...to);
}

/** Says otherwise what is looked for, without a new entry in the history. */
export function changeQuery(change: Readonly<Record<string, string>>): void {
  const { page, id, query } = route.value;
  history.replaceState(null, '', routeHref(page, { id, query: { ...query, ...change } }));
  route.value = parseRoute(location.hash);
}
