import { execFile } from 'node:child_process';
import { glob, readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { DrakkarError, errnoOf } from '@drakkar/errors';
import { hostPlatform } from '@drakkar/protocol';
import type { TomlTable } from 'smol-toml';
import { type PlannedFile, readConfiguration } from './files.ts';
import { ALL_REGISTRIES, findHosts, hostsTomlWith } from './hosts-toml.ts';
import {
  type ConfigurationWish,
  type ContainerdVersion,
  HOSTS_DIRECTORY,
  hostsDirectoryIn,
  newFile,
  parseContainerdVersion,
  wantedIn,
} from './plan.ts';
import { editToml, parseToml, valueAt } from './toml-edit.ts';

export interface ContainerdWish {
  readonly configPath: string;
  /** What the configuration is begun with where it is not there yet. */
  readonly templatePath?: string | undefined;
  readonly version: ContainerdVersion;
  readonly snapshotterSocket: string | undefined;
  /** Of the pods that alone are to use it. */
  readonly runtime?: string | undefined;
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
  runtime,
  stateDirectory,
  registries,
  mirrorUrl,
}: ContainerdWish): Promise<PlannedFile[]> {
  const before = await readConfiguration(configPath);
  const template = templatePath === undefined ? undefined : await readConfiguration(templatePath);
  const text = before ?? template ?? newFile(version);
  if (templatePath !== undefined && /\{\{/.test(text)) {
    throw new DrakkarError('unsupported', `${configPath} is a template that calls others`, {
      hint: 'put there what docs/containerd.md lists by hand; nothing was changed',
    });
  }
  const document = parseToml(text, configPath);
  const known = hostsDirectoryIn(document, configPath);
  const hostsDirectory = registries.length === 0 ? undefined : (known ?? HOSTS_DIRECTORY);
  const { os, architecture } = hostPlatform();
  const wish = {
    snapshotterSocket,
    runtime,
    imagesDirectory: stateDirectory,
    hostsDirectory,
    platform: `${os}/${architecture}`,
    canMapIds: canMapIds(release()),
    record: (await readConfiguration(recordOf(configPath))) ?? '',
  };
  await refuseImports(document, version, wish, configPath);
  const edited = editToml(text, wantedIn(document, version, wish, configPath), configPath);
  const plan: PlannedFile[] = [
    { path: configPath, before, after: edited.text, changes: [...edited.changes] },
  ];
  for (const registry of registries) {
    plan.push(await planHosts((hostsDirectory ?? HOSTS_DIRECTORY).split(':'), registry, mirrorUrl));
  }
  return plan.filter(({ changes }) => changes.length > 0);
}

/**
 * The `hosts.toml` that containerd takes for a registry: where there is one, that; else one of its own, which says what the one for all registries says,
 * since that is not read any more then.
 */
async function planHosts(
  directories: readonly string[],
  registry: string,
  mirrorUrl: string,
): Promise<PlannedFile> {
  const taken = await findHosts(directories, registry);
  const isOwn = taken !== undefined && (taken.name !== ALL_REGISTRIES || registry === ALL_REGISTRIES);
  const path = isOwn ? taken.path : join(directories[0] ?? HOSTS_DIRECTORY, registry, 'hosts.toml');
  const before = isOwn ? taken.text : undefined;
  const after = hostsTomlWith(mirrorUrl, registry, taken?.text, path);
  // A file that is new is written, though it says what another said already.
  const changes =
    before === undefined ? [{ kind: 'lines', lines: after.text.split('\n') } as const] : after.changes;
  return { path, before, after: after.text, changes: [...changes] };
}

/** Far more than anybody imports. */
const MAX_IMPORTS = 1000;

/** What a configuration imports goes before what it says itself. @throws `unsupported` where that is not what is wanted */
async function refuseImports(
  document: TomlTable,
  version: ContainerdVersion,
  wish: ConfigurationWish,
  configPath: string,
): Promise<void> {
  const patterns = Array.isArray(document.imports)
    ? document.imports.filter((item) => typeof item === 'string')
    : [];
  let count = 0;
  for (const pattern of patterns) {
    for await (const found of glob(resolve(dirname(configPath), pattern))) {
      count += 1;
      if (count > MAX_IMPORTS)
        throw new DrakkarError('limit_exceeded', `${configPath} imports more than ${MAX_IMPORTS} files`);
      const imported = parseToml(await readFile(found, 'utf8'), found);
      for (const { table, key, value } of wantedIn(imported, version, wish, found).settings) {
        const says = valueAt(imported, [...table, key]);
        if (says === undefined || JSON.stringify(says) === JSON.stringify(value)) continue;
        throw new DrakkarError(
          'unsupported',
          `${found}, which ${configPath} imports, sets ${[...table, key].join('.')} to ${JSON.stringify(says)}`,
          {
            hint: `that goes before: take it out there, or set ${JSON.stringify(value)}; nothing was changed`,
          },
        );
      }
    }
  }
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
    throw new DrakkarError('not_found', `there is no program ${program}`, {
      hint: 'install containerd first, or name it with --containerd-program',
      cause: error,
    });
  }
}
