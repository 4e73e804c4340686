import { createHash } from 'node:crypto';
import { formatReference, parseReference } from '@drakkar/protocol';
import type { Distribution, ImageSnapshotSpec } from '../resources/index.ts';

/** One image, for one platform. */
export interface Item {
  readonly image: string;
  readonly platform: string;
}

type Labels = Readonly<Record<string, string>>;

/** Nodes by their names, with their labels. */
export type NodeLabels = ReadonlyMap<string, Labels>;

const ANY_PLATFORM = 'linux/amd64';

/** All that a spec names, in its order: for the platforms of the nodes that are to have it, where it names none. */
export function itemsOf(spec: ImageSnapshotSpec, nodes: NodeLabels): Item[] {
  const platforms = spec.platforms ?? platformsOf(chosen(spec.distribution, nodes));
  return spec.images.flatMap((image) => platforms.map((platform) => ({ image, platform })));
}

function platformsOf(nodes: NodeLabels): string[] {
  const found = new Set<string>();
  for (const labels of nodes.values()) {
    const [os, arch] = [labels['kubernetes.io/os'], labels['kubernetes.io/arch']];
    if (os === 'linux' && arch !== undefined) found.add(`${os}/${arch}`);
  }
  return found.size === 0 ? [ANY_PLATFORM] : [...found].sort();
}

/** The nodes that a distribution is for; a percentage of them is chosen elsewhere, by lot. */
export function chosen({ scope, nodeSelector = {} }: Distribution, nodes: NodeLabels): NodeLabels {
  if (scope !== 'Nodes') return new Map();
  const wanted = Object.entries(nodeSelector);
  const isWanted = (labels: Labels) => wanted.every(([name, value]) => labels[name] === value);
  return new Map(nodes.entries().filter(([, labels]) => canHave(labels) && isWanted(labels)));
}

/** Whether a daemon can be there: not on Windows, nor where there is no machine. Source: Virtual Kubelet, labels of its nodes. */
const canHave = ({ 'kubernetes.io/os': os = 'linux', type }: Labels): boolean =>
  os === 'linux' && type !== 'virtual-kubelet';

/** The same image by what it means, whatever its tag comes to mean. @throws `invalid_argument` */
export function pinned(image: string, digest: string): string {
  const { registry, repository } = parseReference(image);
  const named = formatReference({ registry, repository, tag: undefined, digest: undefined });
  return `${named}@${digest}`;
}

export const isPinned = (image: string): boolean => image.includes('@');

/** By which an order is found again, whoever asks: it follows from what is wanted alone. */
export const nameOf = (kind: string, ...parts: readonly unknown[]): string =>
  `${kind}-${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)}`;
