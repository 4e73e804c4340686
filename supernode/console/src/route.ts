/** Where one is, as it stands behind the `#`: `#/hosts?state=away`, `#/jobs/ID`. */
export interface Route {
  readonly page: string;
  readonly id: string | null;
  readonly query: Readonly<Record<string, string>>;
}

export function parseRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#?\/?/, '').split(/\?(.*)/s);
  const [page = '', ...id] = path.split('/');
  return {
    page: page === '' ? 'overview' : page,
    id: id.length === 0 ? null : decode(id.join('/')),
    query: Object.fromEntries(new URLSearchParams(search)),
  };
}

/** What is empty in the query is left out. */
export function routeHref(
  page: string,
  {
    id = null,
    query = {},
  }: { readonly id?: string | null; readonly query?: Readonly<Record<string, string>> } = {},
): string {
  const path = id === null ? `#/${page}` : `#/${page}/${encodeURIComponent(id)}`;
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== '')).toString();
  return search === '' ? path : `${path}?${search}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
