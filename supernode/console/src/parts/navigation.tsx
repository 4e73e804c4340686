import type { Status } from '../documents.ts';
import { count } from '../format.ts';
import { route } from '../location.ts';
import { routeHref } from '../route.ts';

interface Place {
  readonly page: string;
  readonly name: string;
  readonly count?: (status: Status) => number;
}

const PLACES: readonly Place[] = [
  { page: 'overview', name: 'Overview' },
  { page: 'topology', name: 'Topology' },
  { page: 'blobs', name: 'Blobs', count: ({ blobs }) => blobs },
  { page: 'snapshots', name: 'Snapshots', count: ({ snapshots }) => snapshots },
  { page: 'jobs', name: 'Jobs', count: ({ jobs }) => jobs },
  { page: 'hosts', name: 'Hosts', count: ({ hosts }) => hosts },
  { page: 'policies', name: 'Policies' },
  { page: 'webhooks', name: 'Webhooks' },
];

/** To all pages, with how many things there are. */
export function Navigation({ status }: { readonly status: Status | null }) {
  const { page } = route.value;
  return (
    <nav class="places" aria-label="Pages">
      <ul>
        {PLACES.map((place) => (
          <li key={place.page}>
            <a
              href={routeHref(place.page)}
              {...(place.page === page ? { 'aria-current': 'page' as const } : {})}
            >
              {place.name}
              {status !== null && place.count !== undefined && (
                <span class="place-count">{count(place.count(status))}</span>
              )}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
