import type { OrderSpec } from '@drakkar/kubernetes';
import { nodeLabel } from './node-labels.ts';

type Distribution = Extract<OrderSpec, { kind: 'keep' }>['distribution'];

/** The hosts that a distribution is for, as jobs choose them. */
export function targetOf({ scope, nodeSelector = {}, percentage }: Distribution) {
  const labels = Object.fromEntries(
    Object.entries(nodeSelector).map(([name, value]) => [nodeLabel(name), value]),
  );
  const which = scope === 'Seeds' ? { role: 'seed' as const } : { labels };
  return { ...which, ...(percentage === undefined ? {} : { percentage }) };
}
