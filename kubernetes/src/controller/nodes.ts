import { type ApiServer, METADATA_ONLY, Reflector } from '../cluster/index.ts';
import type { ControllerLog } from './contract.ts';

/** Follows which nodes there are, and their labels: of each no more than that is kept. @param changed told when one has come, gone, or other labels */
export function followNodes(
  api: ApiServer,
  log: ControllerLog,
  changed: (name: string) => void,
): Reflector<Readonly<Record<string, string>>> {
  return new Reflector(api, {
    path: '/api/v1/nodes',
    accept: METADATA_ONLY,
    keep: ({ metadata: { labels = {} } }) => labels,
    changed: (now, before, name) => {
      if (textOf(now) !== textOf(before)) changed(name);
    },
    failed: (error) => log.warn({ error }, 'nodes can’t be followed at the moment'),
  });
}

const textOf = (labels: Readonly<Record<string, string>> | undefined): string =>
  labels === undefined ? '' : JSON.stringify(Object.entries(labels).sort());
