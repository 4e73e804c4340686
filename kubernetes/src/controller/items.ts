import { createHash } from 'node:crypto';
import { formatReference, parseReference } from '@drakkar/protocol';
import type {
  Distribution,
  ImageSnapshotSpec,
  ImageSnapshotStatus,
  ImageStatus,
} from '../resources/index.ts';

/** One image, for one platform. */
export interface Item {
  readonly image: string;
  readonly platform: string;
}

type Labels = Readonly<Record<string, string>>;

/** Nodes by their names, with their labels. */
export type NodeLabels = ReadonlyMap<string, Labels>;

const ARCHITECTURE = 'kubernetes.io/arch';
/** Where there are no nodes at all. */
const ANY_PLATFORM = 'linux/amd64';

export interface ItemsOf {
  readonly spec: ImageSnapshotSpec;
  /** Its spec is not the one that its status tells of. */
  readonly isEdited: boolean;
  readonly status: ImageSnapshotStatus;
  readonly nodes: NodeLabels;
}

/** All that a spec names, in its order. */
export function itemsOf(of: ItemsOf): Item[] {
  const platforms = of.spec.platforms ?? platformsOf(of);
  return of.spec.images.flatMap((image) => platforms.map((platform) => ({ image, platform })));
}

/** Those of the nodes that it is for, and of those that have left since it was edited: others like them may come. */
function platformsOf({
  spec: { distribution },
  isEdited,
  status: { images = [] },
  nodes,
}: ItemsOf): string[] {
  const platforms = platformsOfNodes(distribution.scope === 'Nodes' ? chosen(distribution, nodes) : nodes);
  const isKept = ({ digest }: ImageStatus) => platforms.size === 0 || (!isEdited && digest !== undefined);
  for (const { platform } of images.filter(isKept)) platforms.add(platform);
  if (platforms.size > 0) return [...platforms].sort();
  const any = platformsOfNodes(nodes);
  return any.size === 0 ? [ANY_PLATFORM] : [...any].sort();
}

function platformsOfNodes(nodes: NodeLabels): Set<string> {
  const archs = [...nodes.values()].filter(canHave).map((labels) => labels[ARCHITECTURE]);
  return new Set(archs.flatMap((arch) => (arch === undefined ? [] : [`linux/${arch}`])));
}

/** The nodes that a distribution is for; a percentage of them is chosen elsewhere, by lot. */
export function chosen({ scope, nodeSelector = {} }: Distribution, nodes: NodeLabels): NodeLabels {
  if (scope !== 'Nodes') return new Map();
  const wanted = Object.entries(nodeSelector);
  const isWanted = (labels: Labels) => wanted.every(([name, value]) => labels[name] === value);
  return new Map(nodes.entries().filter(([, labels]) => canHave(labels) && isWanted(labels)));
}

/** Whether a node is to have a platform: each its own, unless it is said which all of them are to have. */
export const isPlatformOf = (
  { platforms }: Pick<ImageSnapshotSpec, 'platforms'>,
  platform: string,
  { [ARCHITECTURE]: arch }: Labels,
): boolean => platforms !== undefined || arch === undefined || platform === `linux/${arch}`;

/** The nodes that are to have a platform, of those that a spec is for. */
export function distributionOf(
  { platforms, distribution }: ImageSnapshotSpec,
  platform: string,
): Distribution {
  if (platforms !== undefined || distribution.scope !== 'Nodes') return distribution;
  const [, arch = ''] = platform.split('/');
  return { ...distribution, nodeSelector: { ...distribution.nodeSelector, [ARCHITECTURE]: arch } };
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
