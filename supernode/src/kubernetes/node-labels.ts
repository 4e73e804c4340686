import type { NodeLabels } from '@drakkar/kubernetes';
import type { JobHost } from '../jobs/index.ts';

/** How a label of a node is called among those of its host: it says of itself what it wants, and the node’s are not its own. */
export const nodeLabel = (name: string): string => `node:${name}`;

/** A host with the labels of the node that it is on: it is called as that is. */
export function onNode<Host extends JobHost>(host: Host, nodes: NodeLabels): Host {
  const own = Object.entries(host.labels).filter(([name]) => !name.startsWith(nodeLabel('')));
  const node = Object.entries(nodes.get(host.name) ?? {}).map(([name, value]) => [nodeLabel(name), value]);
  return { ...host, labels: Object.fromEntries([...own, ...node]) };
}
