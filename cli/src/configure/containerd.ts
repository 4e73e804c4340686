import { execFile } from 'node:child_process';
import { release } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DrakkarError, errnoOf } from '@drakkar/errors';
import { hostPlatform } from '@drakkar/protocol';
import { type PlannedFile, readConfiguration } from './files.ts';
import { hostsTomlWith } from './hosts-toml.ts';
import {
  type ContainerdVersion,
  HOSTS_DIRECTORY,
  hostsDirectoryIn,
  newFile,
  parseContainerdVersion,
  wantedIn,
} from './plan.ts';
import { editToml, parseToml } from './toml-edit.ts';

export interface ContainerdWish {
  readonly configPath: string;
  /** What the configuration is begun with where it is not there yet. */
  readonly templatePath?: string | undefined;
  readonly version: ContainerdVersion;
  readonly snapshotterSocket: string | undefined;
  /** The daemon's. */
  readonly stateDirectory: string;
  readonly registries: readonly string[];
  readonly mirrorUrl: string;
}

/** What has to be written so that a containerd uses the snapshotter, where one is named, and the mirror for some registries: only what really changes. */
export async function planContainerd({
  configPath,
  templatePath,
  version,
  snapshotterSocket,
  stateDirectory,
  registries,
  mirrorUrl,
}: ContainerdWish): Promise<PlannedFile[]> {
  const before = await readConfiguration(configPath);
  const template = templatePath === undefined ? undefined : await readConfiguration(templatePath);
  const text = before ?? template ?? newFile(version);
  const document = parseToml(text, configPath);
  const known = hostsDirectoryIn(document, configPath);
  const hostsDirectory = registries.length === 0 ? undefined : (known ?? HOSTS_DIRECTORY);
  const { os, architecture } = hostPlatform();
  const wish = {
    snapshotterSocket,
    imagesDirectory: stateDirectory,
    hostsDirectory,
    platform: `${os}/${architecture}`,
    canMapIds: canMapIds(release()),
  };
  const edited = editToml(text, wantedIn(document, version, wish, configPath), configPath);
  const plan: PlannedFile[] = [
    { path: configPath, before, after: edited.text, changes: [...edited.changes] },
  ];
  for (const registry of registries) {
    // Of several directories containerd looks into the first that has the registry.
    const path = join(hostsDirectory?.split(':', 1)[0] ?? HOSTS_DIRECTORY, registry, 'hosts.toml');
    const hosts = await readConfiguration(path);
    const after = hostsTomlWith(mirrorUrl, registry, hosts, path);
    plan.push({ path, before: hosts, after: after.text, changes: [...after.changes] });
  }
  return plan.filter(({ changes }) => changes.length > 0);
}

/** From 5.19 on, of EROFS and below an overlay. Source: fs/erofs/super.c and fs/overlayfs/super.c of Linux. */
function canMapIds(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map(Number);
  return major > 5 || (major === 5 && minor >= 19);
}

/** Beside the configuration: what was done to it, for an undo. */
export const recordOf = (configPath: string): string => `${configPath}.drakkar.json`;

export async function containerdVersion(program: string): Promise<ContainerdVersion> {
  try {
    return parseContainerdVersion((await promisify(execFile)(program, ['--version'])).stdout);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new DrakkarError('not_found', 'containerd is not on the PATH', {
      hint: 'install it first',
      cause: error,
    });
  }
}
