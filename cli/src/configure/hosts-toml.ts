import { join } from 'node:path';
import { DrakkarError } from '@drakkar/errors';
import { parse, type TomlTable } from 'smol-toml';
import { isThere, readConfiguration } from './files.ts';
import { type Edited, parseToml, withLineEnds } from './toml-edit.ts';

/** For registries that have no directory of their own. */
export const ALL_REGISTRIES = '_default';

const MARK = '# Set by `drakkar configure containerd`: this host’s daemon first, then as ever.';

const CAPABILITIES = '  capabilities = ["pull", "resolve"]';

/**
 * A `hosts.toml` that names the mirror first, before what was there; the registry itself stays the last resort. Source: docs/hosts.md of containerd.
 *
 * @param before what stands there; nothing where there is none
 * @throws `unsupported` where it can't be put in front; `invalid_content`
 */
export function hostsTomlWith(
  mirror: string,
  registry: string,
  before: string | undefined,
  path: string,
): Edited {
  const block = [MARK, `[host.${JSON.stringify(mirror)}]`, CAPABILITIES, ''];
  if (before === undefined || before.trim() === '') {
    const server = registry === ALL_REGISTRIES ? [] : [`server = ${JSON.stringify(serverOf(registry))}`, ''];
    return { text: [...server, ...block].join('\n'), changes: [{ kind: 'lines', lines: block }] };
  }
  return withLineEnds(withoutOwn(before, mirror), (plain) => inFront(plain, mirror, block, path));
}

/** A block of ours that names where the mirror was before. */
function withoutOwn(text: string, mirror: string): string {
  const lines = text.split('\n');
  const at = lines.findIndex((line) => line.trimEnd() === MARK);
  const isOther = at !== -1 && lines[at + 1]?.trimEnd() !== `[host.${JSON.stringify(mirror)}]`;
  const isWhole = lines[at + 2]?.trim() === CAPABILITIES.trim() && !/=/.test(lines[at + 3] ?? '');
  if (!isOther || !isWhole) return text;
  lines.splice(at, lines[at + 3]?.trim() === '' ? 4 : 3);
  return lines.join('\n');
}

function inFront(before: string, mirror: string, block: readonly string[], path: string): Edited {
  const document = parseToml(before, path);
  if (firstHost(document) === mirror) return { text: before, changes: [] };
  const lines = before.split('\n');
  const first = lines.findIndex((line) => /^\s*\[/.test(line));
  lines.splice(first === -1 ? lines.length : first, 0, ...block);
  const after = lines.join('\n');
  if (isMeant(after, mirror, document)) return { text: after, changes: [{ kind: 'lines', lines: block }] };
  throw new DrakkarError('unsupported', `${path} is written in a way that is not understood`, {
    hint: `put this in front of its hosts by hand:\n${block.join('\n')}`,
  });
}

/** Where a registry is, unless something else is said. */
export function serverOf(registry: string): string {
  const isPlain = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(registry);
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
  return `${isPlain ? 'http' : 'https'}://${host}`;
}

/** Containerd asks hosts in the order of the file. */
const firstHost = (document: TomlTable): string | undefined => Object.keys(document.host ?? {})[0];

function isMeant(text: string, mirror: string, before: TomlTable): boolean {
  try {
    const { host, ...rest } = parse(text);
    const { host: hostBefore = {}, ...restBefore } = before;
    const others = Object.entries(host ?? {}).filter(([name]) => name !== mirror);
    return (
      Object.keys(host ?? {})[0] === mirror &&
      JSON.stringify(others) ===
        JSON.stringify(Object.entries(hostBefore).filter(([name]) => name !== mirror)) &&
      JSON.stringify(rest) === JSON.stringify(restBefore)
    );
  } catch {
    return false;
  }
}

/** Where containerd looks for a registry's hosts.toml, in that order. */
export function hostsDirectoriesOf(registry: string): string[] {
  const port = registry.includes(':') ? [registry.replace(/:([^:]*)$/, '_$1_')] : [];
  return [...port, registry, ALL_REGISTRIES];
}

export interface FoundHosts {
  /** Its directory's name: of the registry, or of all. */
  readonly name: string;
  readonly path: string;
  /** Nothing where the directory has none. */
  readonly text: string | undefined;
}

/**
 * What containerd takes for a registry: the first directory that is there, in the first of these that has one. One for all registries hides what the
 * next of them say. Source: HostDirFromRoot in core/remotes/docker/config/hosts.go, hostDirFromRoots in the CRI plugin.
 */
export async function findHosts(
  directories: readonly string[],
  registry: string,
): Promise<FoundHosts | undefined> {
  for (const directory of directories) {
    for (const name of hostsDirectoriesOf(registry)) {
      if (!(await isThere(join(directory, name)))) continue;
      const path = join(directory, name, 'hosts.toml');
      return { name, path, text: await readConfiguration(path) };
    }
  }
  return undefined;
}
