import type { TomlTable } from 'smol-toml';
import { ALL_REGISTRIES, serverOf } from '../configure/hosts-toml.ts';
import {
  type ContainerdVersion,
  hasTransfer,
  hostsDirectoryIn,
  SNAPSHOTTER,
  snapshotterIn,
} from '../configure/plan.ts';
import { valueAt } from '../configure/toml-edit.ts';
import type { Check } from './checks.ts';

/** What the daemon offers containerd. */
export interface Offer {
  readonly mirrorUrl: string;
  readonly snapshotterSocket: string | null;
}

export interface ContainerdFacts {
  readonly version: ContainerdVersion;
  readonly path: string;
  readonly document: TomlTable;
  /** What the daemon says; nothing where it does not answer. */
  readonly offer: Offer | undefined;
  readonly isSocketAnswered: boolean;
  /** Of {@link ALL_REGISTRIES}; nothing where there is none. */
  readonly defaultHosts: TomlTable | undefined;
}

/** By their names of all formats. */
const CRI_PLUGINS = [
  'cri',
  'io.containerd.grpc.v1.cri',
  'io.containerd.cri.v1.images',
  'io.containerd.cri.v1.runtime',
];

const CONFIGURE = 'drakkar configure containerd';

/** Which snapshotter and which mirror this host's containerd will really use. Pure. */
export function containerdChecks(facts: ContainerdFacts): Check[] {
  return [snapshotterCheck(facts), ...annotationsCheck(facts), mirrorCheck(facts)];
}

function snapshotterCheck({ path, document, offer, isSocketAnswered }: ContainerdFacts): Check {
  const name = 'snapshotter';
  const disabled = Array.isArray(document.disabled_plugins) ? document.disabled_plugins : [];
  if (disabled.some((plugin) => CRI_PLUGINS.includes(String(plugin)))) {
    const finding = `${path} switches CRI off: there are no pods, only what ctr and others do`;
    return { name, verdict: 'warning', finding, remedy: 'take it out of disabled_plugins' };
  }
  const used = snapshotterIn(document, path);
  if (used !== SNAPSHOTTER) {
    const finding = `pods use ${used ?? 'overlayfs'}: images are unpacked`;
    return { name, verdict: 'warning', finding, remedy: `${CONFIGURE} --snapshotter` };
  }
  const address = valueAt(document, ['proxy_plugins', SNAPSHOTTER, 'address']);
  if (typeof address !== 'string') {
    const finding = `pods use ${SNAPSHOTTER}, and ${path} does not say where it is`;
    return { name, verdict: 'failure', finding, remedy: `${CONFIGURE} --snapshotter` };
  }
  if (offer !== undefined && offer.snapshotterSocket !== address) {
    const finding = `containerd looks for it at ${address}, the daemon serves ${offer.snapshotterSocket ?? 'none'}`;
    return { name, verdict: 'failure', finding, remedy: `set containerd.snapshotterSocket to ${address}` };
  }
  return isSocketAnswered
    ? { name, verdict: 'ok', finding: `pods use Drakkar’s, at ${address}` }
    : { name, verdict: 'failure', finding: `nobody answers at ${address}`, remedy: 'start the daemon' };
}

/** Without them nobody is told which image a layer is of. */
function annotationsCheck({ version, path, document }: ContainerdFacts): Check[] {
  if (snapshotterIn(document, path) !== SNAPSHOTTER) return [];
  const name = 'annotations';
  const isTold = hasTransfer(version)
    ? valueAt(document, ['proxy_plugins', SNAPSHOTTER, 'exports', 'enable_remote_snapshot_annotations']) ===
      'true'
    : JSON.stringify(document).includes('"disable_snapshot_annotations":false');
  if (isTold) return [{ name, verdict: 'ok', finding: 'the snapshotter is told which image a layer is of' }];
  const finding = 'the snapshotter is not told which image a layer is of: everything is unpacked';
  return [{ name, verdict: 'failure', finding, remedy: `${CONFIGURE} --snapshotter` }];
}

function mirrorCheck({ path, document, offer, defaultHosts }: ContainerdFacts): Check {
  const name = 'mirror';
  const remedy = `${CONFIGURE} --mirror-all, or --mirror REGISTRY`;
  if (hostsDirectoryIn(document, path) === undefined) {
    return { name, verdict: 'warning', finding: `${path} names no directory for hosts.toml`, remedy };
  }
  const [first] = hostsOf(defaultHosts, ALL_REGISTRIES);
  if (first === undefined || first.isRegistry) {
    const finding = 'registries without a hosts.toml of their own are asked themselves';
    return { name, verdict: 'warning', finding, remedy };
  }
  if (offer !== undefined && first.url !== offer.mirrorUrl) {
    const finding = `registries are asked through ${first.url}; the daemon’s mirror is ${offer.mirrorUrl}`;
    return { name, verdict: 'warning', finding, remedy };
  }
  return { name, verdict: 'ok', finding: `registries are asked through ${first.url} first` };
}

/** One of those whom containerd asks for an image. */
export interface HostToAsk {
  readonly url: string;
  /** The registry itself, the last resort. */
  readonly isRegistry: boolean;
  /** Whether it is asked what a tag means. */
  readonly resolves: boolean;
  /** Whether it is asked for content. */
  readonly pulls: boolean;
}

/** Whom containerd asks, in that order. Source: core/remotes/docker/config of containerd. */
export function hostsOf(document: TomlTable | undefined, registry: string): HostToAsk[] {
  const hosts = Object.entries((document?.host ?? {}) as TomlTable).map(([url, table]) => {
    const capabilities = (table as TomlTable).capabilities as string[] | undefined;
    const can = (capability: string) => capabilities === undefined || capabilities.includes(capability);
    return { url, isRegistry: false, resolves: can('resolve'), pulls: can('pull') };
  });
  if (registry === ALL_REGISTRIES) return hosts;
  const server = typeof document?.server === 'string' ? document.server : serverOf(registry);
  return [...hosts, { url: server, isRegistry: true, resolves: true, pulls: true }];
}
