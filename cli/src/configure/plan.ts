import { DrakkarError } from '@drakkar/errors';
import type { TomlTable, TomlValue } from 'smol-toml';
import { type ArrayEntry, isTable, type Setting, valueAt, type Wanted } from './toml-edit.ts';

/** What containerd says that it is. */
export interface ContainerdVersion {
  readonly major: number;
  readonly minor: number;
}

export interface ConfigurationWish {
  /** Of the daemon's snapshotter; nothing to leave that as it is. */
  readonly snapshotterSocket: string | undefined;
  /** Of pods that ask for it: they alone use the snapshotter. Nothing where all are to. */
  readonly runtime: string | undefined;
  /** On the disk on which its images lie, whose room the kubelet looks at. */
  readonly imagesDirectory: string;
  /** Where `HOST/hosts.toml` are to be read from; nothing to leave that as it is. */
  readonly hostsDirectory: string | undefined;
  /** As containerd writes it: `linux/amd64`. */
  readonly platform: string;
  /** Whether the kernel maps the ids of what is mounted. */
  readonly canMapIds: boolean;
  /** What was configured here before, as text: an address that stands there is ours. */
  readonly record: string;
}

export const CONTAINERD_CONFIG_PATH = '/etc/containerd/config.toml';

/** Source: containerd's own default of `default_runtime_name`, and what that is. */
const DEFAULT_RUNTIME = 'runc';
const RUNTIME_TYPE = 'io.containerd.runc.v2';

/** By this name containerd knows the snapshotter, and `ctr --snapshotter` takes it. */
export const SNAPSHOTTER = 'drakkar';

/** Source: containerd's own default of `config_path`, which 2.x has. */
export const HOSTS_DIRECTORY = '/etc/containerd/certs.d';

const UNPACK_CONFIG = ['plugins', 'io.containerd.transfer.v1.local', 'unpack_config'] as const;

const NEWEST = {
  snapshotter: ['plugins', 'io.containerd.cri.v1.images'],
  containers: ['plugins', 'io.containerd.cri.v1.runtime', 'containerd'],
  registry: ['plugins', 'io.containerd.cri.v1.images', 'registry'],
} as const;

/** Where the CRI plugin of each format keeps what we set. Source: docs/cri/config.md of containerd. */
const CRI: Readonly<Record<number, Readonly<Record<keyof typeof NEWEST, readonly string[]>>>> = {
  1: {
    snapshotter: ['plugins', 'cri', 'containerd'],
    containers: ['plugins', 'cri', 'containerd'],
    registry: ['plugins', 'cri', 'registry'],
  },
  2: {
    snapshotter: ['plugins', 'io.containerd.grpc.v1.cri', 'containerd'],
    containers: ['plugins', 'io.containerd.grpc.v1.cri', 'containerd'],
    registry: ['plugins', 'io.containerd.grpc.v1.cri', 'registry'],
  },
  3: NEWEST,
  // Of 2.4 on: of what is set here nothing has changed its place.
  4: NEWEST,
};

/** @throws `unsupported` for one that is not known to work */
export function parseContainerdVersion(text: string): ContainerdVersion {
  const [, major, minor] = /\bv?(\d+)\.(\d+)\.\d+/.exec(text) ?? [];
  const version = { major: Number(major), minor: Number(minor) };
  const isKnown = version.major === 2 || (version.major === 1 && version.minor >= 6);
  if (major !== undefined && isKnown) return version;
  throw new DrakkarError(
    'unsupported',
    `${JSON.stringify(text.trim().slice(0, 100))} is no containerd that is supported`,
    {
      hint: 'containerd 1.6, 1.7 and 2.x are',
    },
  );
}

/** The format of a configuration, which it says itself. @throws `unsupported` for one that is not known */
export function formatOf(document: TomlTable, path: string): number {
  const format = document.version ?? 1;
  if (typeof format === 'number' && CRI[format] !== undefined) return format;
  throw new DrakkarError('unsupported', `${path} has version ${JSON.stringify(format)}`, {
    hint: 'versions 1 to 4 are known; nothing was changed',
  });
}

/** Of a file that is not there yet. */
export const newFile = ({ major }: ContainerdVersion): string => `version = ${major === 1 ? 2 : 3}\n`;

/** What must stand in a configuration. @throws `unsupported` where that contradicts what stands there */
export function wantedIn(
  document: TomlTable,
  version: ContainerdVersion,
  wish: ConfigurationWish,
  path: string,
): Wanted {
  const { snapshotterSocket, runtime, imagesDirectory, hostsDirectory, platform, canMapIds, record } = wish;
  const format = formatOf(document, path);
  if (format > 2 && version.major < 2) {
    throw new DrakkarError(
      'unsupported',
      `${path} has version ${format}, which containerd ${version.major}.${version.minor} takes for another`,
      {
        hint: 'containerd 1 reads version 2; nothing was changed',
      },
    );
  }
  const places = CRI[format] ?? NEWEST;
  const settings: Setting[] = [];
  const entries: ArrayEntry[] = [];
  if (snapshotterSocket !== undefined) {
    refuseAnother(document, snapshotterSocket, record, path);
    const plugin = ['proxy_plugins', SNAPSHOTTER];
    settings.push(
      { table: plugin, key: 'type', value: 'snapshot' },
      { table: plugin, key: 'address', value: snapshotterSocket },
      ...(runtime === undefined
        ? snapshotterTables(format, version).map((table) => snapshotterOf(table))
        : runtimeSettings(document, places.containers, runtime, version)),
    );
    // Older ones name a directory of their own, whatever is set.
    if (version.major >= 2) {
      settings.push({ table: plugin, key: 'capabilities', value: capabilitiesOf(version, canMapIds) });
      settings.push({ table: [...plugin, 'exports'], key: 'root', value: imagesDirectory });
    }
    if (hasTransfer(version)) {
      settings.push({
        table: [...plugin, 'exports'],
        key: 'enable_remote_snapshot_annotations',
        value: 'true',
      });
      const table = UNPACK_CONFIG;
      const ours = { platform, snapshotter: SNAPSHOTTER, differ: 'walking' };
      const others = valueAt(document, table) === undefined ? unpackedByDefault(version, platform) : [];
      entries.push(...[...others, ours].map((entry) => ({ table, entry })));
    } else {
      settings.push({ table: places.snapshotter, key: 'disable_snapshot_annotations', value: false });
    }
  }
  if (hostsDirectory !== undefined) {
    refuseMirrors(document, places.registry, path);
    settings.push({ table: places.registry, key: 'config_path', value: hostsDirectory });
  }
  return { settings, entries };
}

const snapshotterOf = (table: readonly string[]): Setting => ({
  table,
  key: 'snapshotter',
  value: SNAPSHOTTER,
});

/** A runtime as the one that pods have otherwise, with another snapshotter. Source: docs/snapshotters/README.md of containerd. */
function runtimeSettings(
  document: TomlTable,
  containers: readonly string[],
  name: string,
  { major, minor }: ContainerdVersion,
): Setting[] {
  if (major === 1 && minor < 7) {
    throw new DrakkarError(
      'unsupported',
      `containerd ${major}.${minor} has one snapshotter for all runtimes`,
      {
        hint: '1.7 and later can have several; nothing was changed',
      },
    );
  }
  const configured = valueAt(document, [...containers, 'default_runtime_name']);
  const usual = typeof configured === 'string' ? configured : DEFAULT_RUNTIME;
  if (name === usual) {
    throw new DrakkarError('invalid_argument', `${name} is the runtime of all pods that name none`, {
      hint: 'give it another name, or leave --runtime out: then all pods use the snapshotter',
    });
  }
  const runtimes = [...containers, 'runtimes'];
  const table = [...runtimes, name];
  const known = valueAt(document, table);
  if (known !== undefined && valueAt(document, [...table, 'snapshotter']) !== SNAPSHOTTER) {
    throw new DrakkarError('already_exists', `there is a runtime ${name} with another snapshotter`, {
      hint: 'give it another name; nothing was changed',
    });
  }
  // What somebody has changed of it since is theirs.
  const like = known ?? valueAt(document, [...runtimes, usual]);
  return [...settingsLike({ runtime_type: RUNTIME_TYPE, ...tableOf(like) }, table), snapshotterOf(table)];
}

const tableOf = (value: TomlValue | undefined): TomlTable => (isTable(value) ? value : {});

function settingsLike(like: TomlTable, table: readonly string[]): Setting[] {
  return Object.entries(like).flatMap(([key, value]) => {
    if (isTable(value)) return settingsLike(value, [...table, key]);
    return key === 'snapshotter' ? [] : [{ table, key, value }];
  });
}

/** @throws `unsupported` where something is to use the snapshotter that containerd would not know: it would not begin */
export function requireSound(document: TomlTable, path: string): void {
  if (valueAt(document, ['proxy_plugins', SNAPSHOTTER]) !== undefined) return;
  const format = CRI[formatOf(document, path)] ?? NEWEST;
  const entries = valueAt(document, UNPACK_CONFIG);
  const runtimes = tableOf(valueAt(document, [...format.containers, 'runtimes']));
  const users = [
    ...[format.snapshotter, NEWEST.snapshotter].map((table) => valueAt(document, table)),
    ...(Array.isArray(entries) ? entries : []),
    ...Object.values(runtimes),
  ];
  if (!users.some((user) => tableOf(user).snapshotter === SNAPSHOTTER)) return;
  throw new DrakkarError(
    'unsupported',
    `${path} would still name the snapshotter ${SNAPSHOTTER}, which goes`,
    {
      hint: 'somebody has changed what was set: name another one there first; nothing was changed',
    },
  );
}

/** The snapshotter that pods use; nothing where none is named. */
export function snapshotterIn(document: TomlTable, path: string): string | undefined {
  const tables = [NEWEST.snapshotter, CRI[formatOf(document, path)]?.snapshotter ?? []];
  const names = tables.map((table) => valueAt(document, [...table, 'snapshotter']));
  return names.find((name) => typeof name === 'string' && name !== '') as string | undefined;
}

/** The directories that containerd reads already, the first of which is ours to write to. */
export function hostsDirectoryIn(document: TomlTable, path: string): string | undefined {
  const registry = CRI[formatOf(document, path)]?.registry ?? [];
  const configured = valueAt(document, [...registry, 'config_path']);
  return typeof configured === 'string' && configured !== '' ? configured : undefined;
}

/** Containerd 2 takes the snapshotter of an older format over only where runtimes are configured as well; beside them it reads its own place. */
function snapshotterTables(format: number, { major }: ContainerdVersion): (readonly string[])[] {
  const place = CRI[format]?.snapshotter ?? NEWEST.snapshotter;
  return major >= 2 && format < 3 ? [place, NEWEST.snapshotter] : [place];
}

/** From 2.1 on images are pulled through the transfer service, which those annotations alone would switch off. */
export const hasTransfer = ({ major, minor }: ContainerdVersion): boolean =>
  major > 2 || (major === 2 && minor >= 1);

function refuseAnother(document: TomlTable, socket: string, record: string, path: string): void {
  const known = valueAt(document, ['proxy_plugins', SNAPSHOTTER, 'address']);
  const type = valueAt(document, ['proxy_plugins', SNAPSHOTTER, 'type']);
  if (type !== undefined && type !== 'snapshot') {
    throw new DrakkarError(
      'already_exists',
      `${path} has a plugin ${SNAPSHOTTER} of another type: ${JSON.stringify(type)}`,
      {
        hint: 'give it another name; nothing was changed',
      },
    );
  }
  if (known === undefined || known === socket || record.includes(JSON.stringify(`${known}`).slice(1, -1)))
    return;
  throw new DrakkarError(
    'already_exists',
    `${path} has another snapshotter ${SNAPSHOTTER}, at ${JSON.stringify(known)}`,
    {
      hint: 'remove it, or give the daemon that address: containerd.snapshotterSocket',
    },
  );
}

/** What containerd unpacks where nothing is said, which it does not do any more where something is. Source: plugins/transfer/plugin_defaults_linux.go there. */
function unpackedByDefault({ major, minor }: ContainerdVersion, platform: string): ArrayEntry['entry'][] {
  const overlayfs = { platform, snapshotter: 'overlayfs', differ: 'walking' };
  if (major === 2 && minor < 3) return [overlayfs];
  const erofs = { platform: platform.replace('/', '(+erofs)/'), snapshotter: 'erofs', differ: 'erofs' };
  return [overlayfs, { ...erofs, optional: true }];
}

/** What pods in user namespaces need, and what has layers unpacked beside each other. Source: docs/snapshotters/README.md of containerd, core/unpack/unpacker.go. */
function capabilitiesOf({ major, minor }: ContainerdVersion, canMapIds: boolean): string[] {
  // 2.2 does not say of a layer whether any are below it, so that what it deletes would be lost or kept wrongly.
  const isParallel = major > 2 || minor >= 3;
  return [...(canMapIds ? ['remap-ids'] : []), ...(isParallel ? ['rebase'] : [])];
}

/** With both of them the CRI plugin does not come up. */
function refuseMirrors(document: TomlTable, registry: readonly string[], path: string): void {
  for (const key of ['mirrors', 'configs']) {
    const value = valueAt(document, [...registry, key]);
    if (value === undefined || Object.keys(value).length === 0) continue;
    throw new DrakkarError(
      'unsupported',
      `${path} has registry.${key}, with which containerd takes no hosts.toml`,
      {
        hint: 'move what it says to hosts.toml files first: https://github.com/containerd/containerd/blob/main/docs/hosts.md',
      },
    );
  }
}
